/* SPDX-License-Identifier: MIT */
#include "service/config_control.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "io/http_server.h"
#include "service/secret.h"

#define TOKEN_LEAST 16 /* characters: not to be found by trying */

#define LISTEN      "control_http.listen"
#define TOKEN       "control_http.token"
#define CERTIFICATE "control_http.tls.certificate_file"
#define KEY         "control_http.tls.key_file"
#define CLIENT_CA   "control_http.tls.client_ca_file"

struct check {
    const struct sluice_values *settings;
    struct problems *problems;
};

static void refuse(const struct check *check, const char *name, const char *text)
{
    problem_add(check->problems, options_place(check->settings, name), "%s: %s", name, text);
}

/* What can travel in a header, and is long enough. */
static void check_token(const struct check *check, const char *token)
{
    size_t size = strlen(token);

    if (size < TOKEN_LEAST)
        refuse(check, TOKEN, "it is shorter than 16 characters, so that it could be guessed; make one by "
                             "`openssl rand -hex 32`");
    for (size_t i = 0; i < size; i++)
        if (token[i] <= ' ' || token[i] > '~') {
            refuse(check, TOKEN, "it has a character that is no visible one of ASCII, which no header "
                                 "can carry; make one by `openssl rand -hex 32`");
            break;
        }
}

/* Whoever can change a certificate can pose as the service. */
static void check_file(const struct check *check, const char *name)
{
    const char *path = options_text(check->settings, name);
    struct fault fault = {""};
    struct stat status;

    if (!path || stat(path, &status))
        return;
    if (file_check_owner(path, "the file", &fault))
        refuse(check, name, fault.text);
    else if (!strcmp(name, KEY) && (status.st_mode & S_IROTH))
        problem_warn(check->problems, options_place(check->settings, name),
                     "%s: %s, a private key, can be read by everybody; run chmod o-r %s", name, path,
                     path);
}

static void read_tls(const struct check *check, struct control_http_settings *control)
{
    const char *certificate = options_text(check->settings, CERTIFICATE);
    const char *key = options_text(check->settings, KEY);
    const char *client_ca = options_text(check->settings, CLIENT_CA);
    struct fault fault;

    if (!certificate != !key) {
        refuse(check, certificate ? CERTIFICATE : KEY,
               certificate ? "found it alone, expected " KEY " too"
                           : "found it alone, expected " CERTIFICATE " too");
    } else if (certificate) {
        check_file(check, CERTIFICATE);
        check_file(check, KEY);
        check_file(check, CLIENT_CA);
        control->tls = http_server_tls_read(certificate, key, client_ca, &fault);
        if (!control->tls)
            refuse(check, CERTIFICATE, fault.text);
    } else if (client_ca) {
        refuse(check, CLIENT_CA, "clients show certificates over TLS only, so " CERTIFICATE
                                 " and " KEY " are needed");
    }
}

static void check_listen(const struct check *check, const struct control_http_settings *control)
{
    const char *listen = options_text(check->settings, "listen");
    struct fault fault;

    if (!strncmp(control->listen, "unix:", 5))
        refuse(check, LISTEN, "the control socket is a Unix socket already, see `control`; expected "
                              "ADDRESS:PORT such as 127.0.0.1:9091");
    else if (http_server_check_address(control->listen, true, &fault))
        refuse(check, LISTEN, fault.text);
    else if (!options_text(check->settings, CERTIFICATE) &&
             http_server_check_address(control->listen, false, &fault))
        refuse(check, LISTEN, "other machines can reach this address, so orders and the token would go "
                              "over the network unencrypted; set " CERTIFICATE " and " KEY
                              ", or listen at 127.0.0.1");
    else if (listen && !strcmp(listen, control->listen))
        refuse(check, LISTEN, "`listen` has the same address; give it another port");
}

static void warn_unused(const struct check *check)
{
    static const char *const names[] = {TOKEN, CERTIFICATE, KEY, CLIENT_CA};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (options_is_set(check->settings, names[i]))
            problem_warn(check->problems, options_place(check->settings, names[i]),
                         "%s: has no effect without " LISTEN, names[i]);
}

void config_control_read(const struct sluice_values *settings,
                         struct control_http_settings *ret_control, struct problems *problems)
{
    const struct check check = {settings, problems};
    const char *listen = options_text(settings, LISTEN), *token = options_text(settings, TOKEN);

    if (!listen) {
        warn_unused(&check);
        return;
    }
    ret_control->listen = memory_text(listen);
    ret_control->token = token ? memory_text(token) : NULL;
    read_tls(&check, ret_control);
    check_listen(&check, ret_control);
    if (token)
        check_token(&check, token);
    else if (!options_is_wrong(settings, TOKEN) && !options_text(settings, CLIENT_CA))
        refuse(&check, LISTEN, "anybody on this machine could give orders; set " TOKEN
                               ", or " CLIENT_CA " for client certificates");
}

void config_control_fini(struct control_http_settings *control)
{
    free(control->listen);
    secret_free(control->token);
    http_server_tls_free(control->tls);
}

bool config_control_same(const struct control_http_settings *one,
                         const struct control_http_settings *other)
{
    if (!one->listen || !other->listen)
        return one->listen == other->listen;
    return !strcmp(one->listen, other->listen) && !one->tls == !other->tls;
}
