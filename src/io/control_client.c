/* SPDX-License-Identifier: MIT */
#include "io/control_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "io/http_server.h"
#include "io/unix_socket.h"

static size_t take(char *data, size_t size, size_t count, void *argument)
{
    struct buffer *answer = argument;

    buffer_add(answer, data, size * count);
    return answer->full ? 0 : size * count;
}

static void set_request(CURL *curl, const char *method, const char *path, const char *body,
                        struct buffer *answer)
{
    char *url = memory_format("http://sluice%s", path);

    curl_easy_setopt(curl, CURLOPT_URL, url); /* copied */
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
    if (status == 403)
        return CONTROL_FORBIDDEN;
    return detail ? CONTROL_REFUSED : CONTROL_FAILED;
}

enum control_outcome control_client_ask(const char *socket, const char *method, const char *path,
                                        const json_t *body, int64_t timeout_us,
                                        json_t **ret_answer, struct fault *fault)
{
    enum control_outcome outcome;
    int directory = -1;
    char *short_path = unix_socket_short_path(socket, &directory, fault);
    char *body_text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    CURL *curl = curl_easy_init();
    struct buffer answer;
    CURLcode code;

    *ret_answer = NULL;
    buffer_init(&answer, HTTP_SERVER_ANSWER);
    if (!short_path) {
        outcome = CONTROL_NOT_RUNNING;
    } else if (!curl) {
        fault_set(fault, "libcurl cannot be used");
        outcome = CONTROL_FAILED;
    } else {
        set_request(curl, method, path, body_text, &answer);
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, short_path);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout_us / CLOCK_MS));
        code = curl_easy_perform(curl);
        outcome = code ? explain_failure(curl, code, socket, fault)
                       : read_answer(curl, &answer, socket, ret_answer, fault);
    }
    curl_easy_cleanup(curl);
    buffer_fini(&answer);
    free(body_text);
    free(short_path);
    if (directory >= 0)
        close(directory);
    return outcome;
}
