/* SPDX-License-Identifier: MIT
 * What dialects share: building requests, keeping messages, telling faults. */
#define _GNU_SOURCE
#include "dialect.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#define SHOWN 80 /* bytes of an answer that a text tells */

/* ---- requests ---- */

int http_request_header(struct http_request *request, const char *format, ...)
{
    struct curl_slist *longer;
    va_list arguments;
    char *line;
    int size;

    va_start(arguments, format);
    size = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (size < 0)
        return -1;
    longer = curl_slist_append(request->headers, line);
    explicit_bzero(line, (size_t)size);
    free(line);
    if (!longer)
        return -1;
    request->headers = longer;
    return 0;
}

int http_request_url(struct http_request *request, const char *format, ...)
{
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vasprintf(&request->url, format, arguments);
    va_end(arguments);
    if (size < 0)
        request->url = NULL;
    return size < 0 ? -1 : 0;
}

int http_request_json(struct http_request *request, char *text)
{
    if (!text)
        return -1;
    request->method = "POST";
    request->body = text;
    request->body_size = strlen(text);
    return http_request_header(request, "Content-Type: application/json");
}

void http_request_free(struct http_request *request)
{
    /* Credentials are among the headers. */
    for (struct curl_slist *line = request->headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(request->headers);
    free(request->url);
    free(request->body);
    *request = (struct http_request){0};
}

/* ---- faults ---- */

void http_costs_add(struct http_costs *costs, const char *format, ...)
{
    size_t size = strlen(costs->text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(costs->text + size, sizeof costs->text - size, format, arguments);
    va_end(arguments);
}

int http_fault(struct http_fault *fault, uint32_t state, const char *format, ...)
{
    va_list arguments;

    fault->state = state;
    va_start(arguments, format);
    vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    return -1;
}

/* What an answer is, for people. Of JSON nothing is told, as a message may be in it. */
static void describe(const struct http_answer *answer, char *ret, size_t room)
{
    size_t size = answer->size < SHOWN ? answer->size : SHOWN;
    const char *begin = answer->body + strspn(answer->body, " \t\r\n");
    int used;

    if (!answer->size || *begin == '{' || *begin == '[') {
        if (answer->size)
            snprintf(ret, room, "something else, or cut off (%zu bytes of JSON)", answer->size);
        else
            snprintf(ret, room, "empty");
        return;
    }
    used = snprintf(ret, room, "\"%.*s\"%s", (int)size, answer->body, answer->size > size ? "..." : "");
    for (int i = 0; i < used && (size_t)i < room - 1; i++)
        if ((unsigned char)ret[i] < 0x20 || (unsigned char)ret[i] > 0x7e)
            ret[i] = '.';
}

int http_fault_answer(struct http_fault *fault, const struct http_answer *answer, const char *expected)
{
    char shown[SHOWN + 40];

    describe(answer, shown, sizeof shown);
    return http_fault(fault, SLUICE_STATE_FAILED,
                      "the answer is %s, expected %s: check that the address is that of the queue and not "
                      "of something in between; it is tried again",
                      shown, expected);
}

/* ---- times ---- */

int64_t http_read_time(const char *text)
{
    struct tm parts = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) : NULL;
    int64_t thousandths = 0, scale = 100;

    if (!rest)
        return 0;
    if (*rest == '.')
        for (rest++; isdigit((unsigned char)*rest); rest++, scale /= 10)
            thousandths += (*rest - '0') * scale;
    return *rest == 'Z' ? (int64_t)timegm(&parts) * 1000 + thousandths : 0;
}

/* ---- messages ---- */

struct http_keep {
    struct http_keep *next;
    void *taken; /* memory from elsewhere, or NULL: the bytes that follow */
    char bytes[];
};

struct http_message *http_message_new(size_t room)
{
    struct http_message *message = malloc(sizeof *message + room + 1);

    if (message)
        *message = (struct http_message){.room = room};
    return message;
}

void *http_message_keep(struct http_message *message, const void *data, size_t size)
{
    char *bytes = (char *)message->memory;

    if (size && size <= message->room) {
        message->room = 0;
    } else {
        struct http_keep *keep = malloc(sizeof *keep + size + 1);

        if (!keep)
            return NULL;
        *keep = (struct http_keep){.next = message->kept};
        message->kept = keep;
        bytes = keep->bytes;
    }
    if (data)
        memcpy(bytes, data, size);
    bytes[size] = '\0';
    return bytes;
}

int http_message_take(struct http_message *message, void *memory)
{
    struct http_keep *keep = malloc(sizeof *keep);

    if (!keep) {
        free(memory);
        return -1;
    }
    keep->next = message->kept;
    keep->taken = memory;
    message->kept = keep;
    return 0;
}

void http_message_free(struct http_message *message)
{
    struct http_keep *next;

    if (!message)
        return;
    for (struct http_keep *keep = message->kept; keep; keep = next) {
        next = keep->next;
        free(keep->taken);
        free(keep);
    }
    free(message);
}

void http_list_add(struct http_list *list, struct http_message *message)
{
    message->next = NULL;
    message->previous = list->last;
    if (list->last)
        list->last->next = message;
    else
        list->first = message;
    list->last = message;
    list->count++;
}

void http_list_free(struct http_list *list)
{
    struct http_message *next;

    for (struct http_message *message = list->first; message; message = next) {
        next = message->next;
        http_message_free(message);
    }
    *list = (struct http_list){.backlog = -1};
}

/* ---- options ---- */

const char *http_text(const struct http_reader *reader, const char *name)
{
    return reader->api->values->text(reader->values, name);
}

int64_t http_number(const struct http_reader *reader, const char *name)
{
    return reader->api->values->number(reader->values, name);
}

bool http_is_set(const struct http_reader *reader, const char *name)
{
    return reader->api->values->is_set(reader->values, name);
}

void http_refuse(struct http_reader *reader, const char *name, const char *format, ...)
{
    char text[HTTP_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reader->api->values->refuse(reader->values, name, text);
    reader->refused = true;
}

bool http_check_url(struct http_reader *reader, const char *name, const char *url)
{
    size_t size = strlen(url);
    const char *host = !strncmp(url, "https://", 8)  ? url + 8
                       : !strncmp(url, "http://", 7) ? url + 7
                                                     : NULL;

    if (host && *host && *host != '/' && url[size - 1] != '/' && !strpbrk(url, " \"<>\\^`|@"))
        return true;
    http_refuse(reader, name,
                "expected an address that begins with https:// or http://, without blanks, user or a "
                "slash at its end");
    return false;
}

const char *http_demand(struct http_reader *reader, const char *name, const char *what)
{
    const char *text = http_text(reader, name);

    if (text && *text)
        return text;
    http_refuse(reader, name, "is missing: expected %s", what);
    return NULL;
}
