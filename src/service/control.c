/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"

struct control {
    struct router *router;
    struct http_server *server;
};

static void refuse_peer(struct http_server_answer *answer)
{
    answer->status = 403;
    answer->content_type = "application/problem+json";
    buffer_add_text(&answer->body,
                    "{\"title\":\"Forbidden\",\"status\":403,\"detail\":\"only root, the user that "
                    "runs sluice, and members of the control socket's group may give orders\"}\n");
}

static void handle(void *argument, const struct http_server_request *request,
                   struct http_server_answer *answer)
{
    const struct control *control = argument;
    struct unix_socket_peer peer;

    if (!http_server_peer(request, &peer)) {
        log_event(LOG_WARNING, "control_refused", LOG_TEXT("path", request->path));
        refuse_peer(answer);
        return;
    }
    router_handle(control->router, request, answer);
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
        log_event(LOG_INFO, "control", LOG_TEXT("method", request->method),
                  LOG_TEXT("path", request->path), LOG_NUMBER("status", answer->status),
                  LOG_NUMBER("uid", peer.uid), LOG_NUMBER("pid", peer.pid));
}

struct control *control_start(const char *path, int fd, struct router *router, struct fault *fault)
{
    struct control *control = memory_zero(1, sizeof *control);
    char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    char *listen = memory_format("unix:%s%s%s", here ? here : "", here ? "/" : "", path);
    struct http_server_settings settings = {
        .listen = listen, .fd = fd, .handle = handle, .argument = control};

    control->router = router;
    control->server = http_server_start(&settings, fault);
    free(listen);
    free(here);
    if (control->server)
        return control;
    free(control);
    return NULL;
}

void control_stop(struct control *control)
{
    if (control)
        http_server_stop(control->server);
    free(control);
}
