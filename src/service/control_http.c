/* SPDX-License-Identifier: MIT */
#include "service/control_http.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/memory.h"
#include "io/hash.h"
#include "io/http_server_tls.h"
#include "service/secret.h"

#define NAME_MOST 256 /* bytes of a certificate's subject in the log */

struct control_http {
    struct router *router;
    struct http_server *server;
    pthread_mutex_t mutex; /* guards: */
    bool wants_certificate;
    char *token;                 /* NULL: none is wanted */
    struct http_server_tls *tls; /* NULL: without */
};

/* What follows `Bearer `; NULL where nothing of the kind was sent. */
static const char *token_of(const struct http_server_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *value = http_server_header(request, "Authorization");

    if (!value || strncasecmp(value, scheme, strlen(scheme)) != 0)
        return NULL;
    value += strlen(scheme);
    return value + strspn(value, " ");
}

struct wanted {
    bool certificate, token_is_right;
};

static struct wanted wants(struct control_http *control, const char *shown)
{
    struct wanted wanted;

    pthread_mutex_lock(&control->mutex);
    wanted.certificate = control->wants_certificate;
    wanted.token_is_right =
        !control->token || (shown && hash_same_secret(control->token, shown));
    pthread_mutex_unlock(&control->mutex);
    return wanted;
}

static void refuse(const struct http_server_request *request, struct http_server_answer *answer,
                   unsigned status, const char *title, const char *detail)
{
    char from[HTTP_SERVER_ADDRESS];

    http_server_from(request, from);
    log_event(LOG_WARNING, "control_refused", LOG_TEXT("path", request->path),
              LOG_TEXT("from", from), LOG_TEXT("error", detail));
    answer->status = status;
    answer->content_type = "application/problem+json";
    buffer_format(&answer->body, "{\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"}\n", title,
                  status, detail);
}

static bool admit(void *argument, const struct http_server_request *request,
                  struct http_server_answer *answer)
{
    struct control_http *control = argument;
    const char *shown = token_of(request);
    struct wanted wanted = wants(control, shown);
    char name[NAME_MOST];

    if (wanted.certificate && !http_server_certificate(request, name, sizeof name)) {
        refuse(request, answer, 403, "Forbidden",
               "a client certificate that client_ca_file vouches for is needed");
        return false;
    }
    if (wanted.token_is_right)
        return true;
    answer->challenge =
        shown ? "Bearer realm=\"sluice\", error=\"invalid_token\"" : "Bearer realm=\"sluice\"";
    refuse(request, answer, 401, "Unauthorized",
           shown ? "the token is not the one of control_http.token"
                 : "the token of control_http.token is needed, as Authorization: Bearer TOKEN");
    return false;
}

static void handle(void *argument, const struct http_server_request *request,
                   struct http_server_answer *answer)
{
    struct control_http *control = argument;
    char from[HTTP_SERVER_ADDRESS], name[NAME_MOST];

    router_handle(control->router, request, answer);
    if (!strcmp(request->method, "GET") || !strcmp(request->method, "HEAD"))
        return;
    http_server_from(request, from);
    if (!http_server_certificate(request, name, sizeof name))
        strcpy(name, "who has the token");
    log_event(LOG_INFO, "control", LOG_TEXT("method", request->method),
              LOG_TEXT("path", request->path), LOG_NUMBER("status", answer->status),
              LOG_TEXT("from", from), LOG_TEXT("by", name));
}

struct control_http *control_http_start(const struct control_http_settings *settings, int fd,
                                        struct router *router, struct fault *fault)
{
    struct control_http *control = memory_zero(1, sizeof *control);
    struct http_server_settings server = {.listen = settings->listen,
                                          .fd = fd,
                                          .tls = settings->tls,
                                          .anywhere = settings->tls != NULL,
                                          .admit = admit,
                                          .handle = handle,
                                          .argument = control};

    control->router = router;
    control->wants_certificate = settings->tls && settings->tls->asks_clients;
    control->tls = http_server_tls_share(settings->tls);
    control->token = settings->token ? memory_text(settings->token) : NULL;
    pthread_mutex_init(&control->mutex, NULL);
    control->server = http_server_start(&server, fault);
    if (control->server)
        return control;
    control_http_stop(control);
    return NULL;
}

void control_http_stop(struct control_http *control)
{
    if (!control)
        return;
    http_server_stop(control->server);
    secret_free(control->token);
    http_server_tls_free(control->tls);
    pthread_mutex_destroy(&control->mutex);
    free(control);
}

/* Whether it is another one. Under the mutex. */
static bool take_tls(struct control_http *control, struct http_server_tls *tls)
{
    bool changed =
        memcmp(control->tls->identity, tls->identity, sizeof tls->identity) != 0;

    http_server_set_tls(control->server, tls);
    http_server_tls_free(control->tls);
    control->tls = http_server_tls_share(tls);
    control->wants_certificate = tls->asks_clients;
    return changed;
}

void control_http_take(struct control_http *control, const struct control_http_settings *settings)
{
    bool same_kind = !settings->tls == !control->tls, changed = false;
    char *old = NULL;

    if (!settings->listen)
        return;
    pthread_mutex_lock(&control->mutex);
    if (settings->token || same_kind) {
        old = control->token;
        control->token = settings->token ? memory_text(settings->token) : NULL;
    }
    if (settings->tls && same_kind)
        changed = take_tls(control, settings->tls);
    pthread_mutex_unlock(&control->mutex);
    secret_free(old);
    if (changed)
        log_event(LOG_INFO, "control_certificate",
                  LOG_TEXT("effect", "new connections see the changed certificate; those made before go "
                                     "on"));
}

unsigned control_http_port(const struct control_http *control)
{
    return http_server_port(control->server);
}
