/* SPDX-License-Identifier: MIT */
#include "service/router.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/json_value.h"

#define TABLES_MOST 16
#define PATH_MOST   512

struct table {
    const struct router_route *routes;
    void *argument;
};

struct router {
    pthread_mutex_t mutex; /* held through a call: handlers need not know that there are two servers */
    struct table tables[TABLES_MOST];
    size_t table_count;
};

/* The parts that the path has for a route's parameters. */
struct parts {
    char text[PATH_MOST];
    const char *parameters[ROUTER_PARAMETERS];
};

struct router *router_new(void)
{
    struct router *router = memory_zero(1, sizeof *router);

    pthread_mutex_init(&router->mutex, NULL);
    return router;
}

void router_free(struct router *router)
{
    if (router)
        pthread_mutex_destroy(&router->mutex);
    free(router);
}

void router_add(struct router *router, const struct router_route *routes, void *argument)
{
    if (router->table_count == TABLES_MOST)
        abort(); /* a mistake of the programmer, seen at the first start */
    router->tables[router->table_count++] = (struct table){routes, argument};
}

/* Compares part by part; fills in `parts` as it goes. */
static bool path_matches(const char *pattern, const char *path, struct parts *parts)
{
    size_t count = 0, used = 0;

    while (*pattern && *path) {
        size_t wanted = strcspn(pattern + 1, "/") + 1, found = strcspn(path + 1, "/") + 1;

        if (pattern[1] == '{') {
            if (found < 2 || count == ROUTER_PARAMETERS || used + found > sizeof parts->text)
                return false;
            memcpy(parts->text + used, path + 1, found - 1);
            parts->text[used + found - 1] = '\0';
            parts->parameters[count++] = parts->text + used;
            used += found;
        } else if (wanted != found || memcmp(pattern, path, found) != 0) {
            return false;
        }
        pattern += wanted;
        path += found;
    }
    return *pattern == *path;
}

static bool method_matches(const char *wanted, const char *method)
{
    return !strcmp(wanted, method) || (!strcmp(wanted, "GET") && !strcmp(method, "HEAD"));
}

/* Reads the body. Returns whether the call may go on. */
static bool read_body(const struct http_server_request *request, json_t **ret_body,
                      struct router_answer *answer)
{
    json_error_t error;

    *ret_body = NULL;
    if (!request->body_size)
        return true;
    *ret_body = json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &error);
    if (*ret_body)
        return true;
    router_refuse(answer, 400, "the body is no JSON: %s at byte %d", error.text, error.position);
    return false;
}

static void call_route(const struct router_route *route, void *argument,
                       const struct http_server_request *request, const struct parts *parts,
                       struct router_answer *answer)
{
    struct router_call call = {.request = request};

    memcpy(call.parameters, parts->parameters, sizeof call.parameters);
    if (read_body(request, &call.body, answer))
        route->handle(argument, &call, answer);
    json_decref(call.body);
}

/* Answers GET /v1: what there is. */
static void list_routes(const struct router *router, struct router_answer *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < router->table_count; i++)
        for (const struct router_route *route = router->tables[i].routes; route->method; route++)
            json_array_append_new(list, json_pack("{s:s, s:s}", "method", route->method, "path",
                                                  route->path));
    answer->body = json_pack("{s:o}", "routes", list);
}

static void find_route(const struct router *router, const struct http_server_request *request,
                       struct router_answer *answer)
{
    bool known = !strcmp(request->path, "/v1");

    if (known && method_matches("GET", request->method)) {
        list_routes(router, answer);
        return;
    }
    for (size_t i = 0; i < router->table_count; i++) {
        const struct table *table = &router->tables[i];

        for (const struct router_route *route = table->routes; route->method; route++) {
            struct parts parts = {0};

            if (!path_matches(route->path, request->path, &parts))
                continue;
            known = true;
            if (method_matches(route->method, request->method)) {
                call_route(route, table->argument, request, &parts, answer);
                return;
            }
        }
    }
    if (known)
        router_refuse(answer, 405, "%s does not take %s", request->path, request->method);
    else
        router_refuse(answer, 404, "there is no %s", request->path);
}

void router_handle(void *argument, const struct http_server_request *request,
                   struct http_server_answer *ret_answer)
{
    struct router_answer answer = {.status = 200};
    struct router *router = argument;
    char *text;

    pthread_mutex_lock(&router->mutex);
    find_route(router, request, &answer);
    pthread_mutex_unlock(&router->mutex);
    if (!answer.body)
        answer.body = json_object();
    text = json_dumps(answer.body, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(answer.body);
    ret_answer->status = answer.status;
    ret_answer->content_type =
        answer.status < 400 ? "application/json" : "application/problem+json";
    if (text)
        buffer_add_text(&ret_answer->body, text);
    buffer_add(&ret_answer->body, "\n", 1);
    free(text);
}

static const char *title_of(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 422:
        return "Unprocessable Content";
    case 503:
        return "Service Unavailable";
    default:
        return "Error";
    }
}

void router_refuse(struct router_answer *ret_answer, unsigned status, const char *format, ...)
{
    char detail[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    json_decref(ret_answer->body);
    ret_answer->status = status;
    ret_answer->body = json_pack("{s:s, s:i, s:o}", "title", title_of(status), "status",
                                 (int)status, "detail", json_value_text(detail));
}

const char *router_body_text(const struct router_call *call, const char *name)
{
    return json_string_value(json_object_get(call->body, name));
}
