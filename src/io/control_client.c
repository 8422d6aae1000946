/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/control_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "io/http_probe.h"
#include "io/http_server.h"
#include "io/unix_socket.h"

#define TOKEN_MOST 4096 /* bytes */

static size_t take(char *data, size_t size, size_t count, void *argument)
{
    struct buffer *answer = argument;

    buffer_add(answer, data, size * count);
    return answer->full ? 0 : size * count;
}

static void set_request(CURL *curl, const char *method, char *url, const char *body,
                        struct buffer *answer)
{
    curl_easy_setopt(curl, CURLOPT_URL, url); /* copied */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    else if (!strcmp(method, "POST"))
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    free(url);
}

/* ---- over TCP ---- */

bool control_client_is_url(const char *socket)
{
    return !strncasecmp(socket, "http://", 7) || !strncasecmp(socket, "https://", 8);
}

/* Memory of the caller's; NULL where there is none, or with a fault where the file cannot be read. */
static char *find_token(struct fault *fault)
{
    const char *token = getenv("SLUICE_CONTROL_TOKEN");
    const char *path = getenv("SLUICE_CONTROL_TOKEN_FILE");
    char room[TOKEN_MOST + 1];
    ssize_t size;

    if (token && *token)
        return memory_text(token);
    if (!path || !*path)
        return NULL;
    size = file_read(path, room, TOKEN_MOST);
    if (size < 0) {
        fault_set(fault, "SLUICE_CONTROL_TOKEN_FILE: %s: %s", path, strerror(errno));
        return NULL;
    }
    room[size] = '\0';
    room[strcspn(room, "\r\n")] = '\0';
    return memory_text(room);
}

static void set_file(CURL *curl, CURLoption option, const char *variable)
{
    const char *path = getenv(variable);

    if (path && *path)
        curl_easy_setopt(curl, option, path);
}

/* Sets what the caller has to show. Returns 0, or -1 with a fault. */
static int set_caller(CURL *curl, const char *url, struct fault *fault)
{
    char *token;

    *fault = (struct fault){""};
    token = find_token(fault);
    if (fault->text[0])
        return -1;
    set_file(curl, CURLOPT_CAINFO, "SLUICE_CONTROL_CA_FILE");
    set_file(curl, CURLOPT_SSLCERT, "SLUICE_CONTROL_CERTIFICATE_FILE");
    set_file(curl, CURLOPT_SSLKEY, "SLUICE_CONTROL_KEY_FILE");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!token)
        return 0;
    if (!http_probe_is_private(url)) {
        free(token);
        return fault_set(fault, "%s: the token would go over the network unencrypted; use https://",
                         url);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, token); /* copied */
    explicit_bzero(token, strlen(token));
    free(token);
    return 0;
}

/* ---- both ---- */

static enum control_outcome explain_failure(CURL *curl, CURLcode code, const char *socket,
                                            struct fault *fault)
{
    long reason = 0;

    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &reason);
    if (code == CURLE_COULDNT_CONNECT && (reason == ENOENT || reason == ECONNREFUSED)) {
        fault_set(fault, "no sluice is running that serves %s", socket);
        return CONTROL_NOT_RUNNING;
    }
    if (code == CURLE_COULDNT_CONNECT && (reason == EACCES || reason == EPERM)) {
        fault_set(fault,
                  "%s: %s; be root, the user that runs sluice, or in the group of the socket",
                  socket, strerror((int)reason));
        return CONTROL_FORBIDDEN;
    }
    if (code == CURLE_OPERATION_TIMEDOUT)
        fault_set(fault, "%s: no answer in time", socket);
    else
        fault_set(fault, "%s: %s", socket,
                  reason ? strerror((int)reason) : curl_easy_strerror(code));
    return CONTROL_FAILED;
}

static enum control_outcome read_answer(CURL *curl, const struct buffer *text, const char *socket,
                                        json_t **ret_answer, struct fault *fault)
{
    json_t *answer = json_loadb(text->data ? text->data : "", text->size, JSON_DECODE_ANY, NULL);
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *ret_answer = answer;
    if (status >= 200 && status < 400 && answer)
        return CONTROL_ANSWERED;
    if (detail)
        fault_set(fault, "%s", detail);
    else
        fault_set(fault, "%s: answered %ld with what is no JSON; what serves it is not sluice",
                  socket, status);
    if (status == 401 || status == 403)
        return CONTROL_FORBIDDEN;
    return detail ? CONTROL_REFUSED : CONTROL_FAILED;
}

/* Sets where the request goes. Returns 0, or -1 with a fault. */
static int set_socket(CURL *curl, const char *socket, int *ret_directory, struct fault *fault)
{
    char *short_path;

    if (control_client_is_url(socket))
        return set_caller(curl, socket, fault);
    short_path = unix_socket_short_path(socket, ret_directory, fault);
    if (!short_path)
        return -1;
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, short_path); /* copied */
    free(short_path);
    return 0;
}

/* Memory of the caller's. */
static char *url_of(const char *socket, const char *path)
{
    size_t size = strlen(socket);

    if (!control_client_is_url(socket))
        return memory_format("http://sluice%s", path);
    while (size && socket[size - 1] == '/')
        size--;
    return memory_format("%.*s%s", (int)size, socket, path);
}

enum control_outcome control_client_ask(const char *socket, const char *method, const char *path,
                                        const json_t *body, int64_t timeout_us,
                                        json_t **ret_answer, struct fault *fault)
{
    char *body_text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    enum control_outcome outcome;
    CURL *curl = curl_easy_init();
    struct buffer answer;
    int directory = -1;
    CURLcode code;

    *ret_answer = NULL;
    buffer_init(&answer, HTTP_SERVER_ANSWER);
    if (!curl) {
        fault_set(fault, "libcurl cannot be used");
        outcome = CONTROL_FAILED;
    } else if (set_socket(curl, socket, &directory, fault)) {
        outcome = control_client_is_url(socket) ? CONTROL_FORBIDDEN : CONTROL_NOT_RUNNING;
    } else {
        set_request(curl, method, url_of(socket, path), body_text, &answer);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout_us / CLOCK_MS));
        code = curl_easy_perform(curl);
        outcome = code ? explain_failure(curl, code, socket, fault)
                       : read_answer(curl, &answer, socket, ret_answer, fault);
    }
    curl_easy_cleanup(curl);
    buffer_fini(&answer);
    free(body_text);
    if (directory >= 0)
        close(directory);
    return outcome;
}
