/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli/demo_watch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/clock.h"

#define METRICS_MOST ((size_t)256 * 1024)

/* ---- the log ---- */

static void tell(struct demo_watch *watch, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(struct demo_watch *watch, const char *format, ...)
{
    struct demo_watch_event *event = &watch->events[DEMO_WATCH_EVENTS - 1];
    va_list arguments;

    memmove(watch->events, watch->events + 1, sizeof watch->events - sizeof *event);
    event->at_us = clock_now() - watch->start_us;
    va_start(arguments, format);
    vsnprintf(event->text, sizeof event->text, format, arguments);
    va_end(arguments);
}

static const char *text_of(const json_t *line, const char *name)
{
    const char *text = json_string_value(json_object_get(line, name));

    return text ? text : "";
}

/* What people call the message that the line is about. */
static void name_order(const struct demo_watch *watch, const json_t *line, char *ret_name,
                       size_t room)
{
    const char *lane = text_of(line, "lane"), *slash = strrchr(lane, '/');
    json_int_t position = json_integer_value(json_object_get(line, "position"));
    unsigned number = 0;

    if (slash)
        number = demo_function_order_at(watch->function, atoi(slash + 1), (uint64_t)position);
    if (number)
        snprintf(ret_name, room, "A-%u", 1000 + number);
    else
        snprintf(ret_name, room, "%s at %" JSON_INTEGER_FORMAT, lane, position);
}

/* `500: no database` instead of `the function answered 500: no database`. */
static const char *error_of(const json_t *line)
{
    static const char usual[] = "the function answered ";
    const char *error = text_of(line, "error");

    return strncmp(error, usual, sizeof usual - 1) ? error : error + sizeof usual - 1;
}

static void on_invocation_failed(struct demo_watch *watch, const json_t *line)
{
    json_int_t count = json_integer_value(json_object_get(line, "messages"));
    char order[64];

    name_order(watch, line, order, sizeof order);
    if (count > 1)
        tell(watch, "%s and %" JSON_INTEGER_FORMAT " more, in halves: %s", order, count - 1,
             error_of(line));
    else
        tell(watch, "%s alone: %s", order, error_of(line));
}

static void on_show_event(struct demo_watch *watch, const char *event, const json_t *line)
{
    char order[64];

    name_order(watch, line, order, sizeof order);
    if (!strcmp(event, "invocation_failed")) {
        on_invocation_failed(watch, line);
    } else if (!strcmp(event, "suspect")) {
        tell(watch, "%s is a suspect, steps aside until another order succeeds", order);
    } else if (!strcmp(event, "dead_letter")) {
        watch->letters++;
        tell(watch, "dead letter %s: %s", order, error_of(line));
    } else if (!strcmp(event, "target_down") || !strcmp(event, "target_paused")) {
        tell(watch, "the function seems to be down, orders wait: %s", text_of(line, "error"));
    } else if (!strcmp(event, "target_up")) {
        tell(watch, "the function is back");
    } else {
        const char *error = text_of(line, "error");

        snprintf(watch->trouble, sizeof watch->trouble, "%s: %s", event,
                 *error ? error : text_of(line, "text"));
    }
}

void demo_watch_line(struct demo_watch *watch, const char *line)
{
    json_t *fields = json_loads(line, 0, NULL);
    const char *event = text_of(fields, "event"), *level = text_of(fields, "level");

    if (!fields)
        snprintf(watch->trouble, sizeof watch->trouble, "%s", line);
    else if (!strcmp(event, "listening"))
        watch->port = (unsigned)json_integer_value(json_object_get(fields, "port"));
    else if (!strcmp(event, "mapping_started"))
        tell(watch, "sluice runs and joins its group in Kafka, which takes about 3 s");
    else if (strcmp(level, "info") != 0 || !strcmp(event, "target_up"))
        on_show_event(watch, event, fields);
    json_decref(fields);
}

/* ---- the metrics ---- */

static int connect_to(unsigned port)
{
    const struct timeval most = {.tv_usec = 500 * 1000};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Reads the whole answer into `text`. */
static void get_metrics(unsigned port, struct buffer *text)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    int fd = connect_to(port);
    char piece[4096];
    ssize_t got;

    if (fd < 0)
        return;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof request - 1))
        while ((got = recv(fd, piece, sizeof piece, 0)) > 0)
            buffer_add(text, piece, (size_t)got);
    close(fd);
}

static void read_metric(const char *text, const char *name, uint64_t *ret_value)
{
    char start[80];
    const char *at;

    snprintf(start, sizeof start, "\nsluice_%s{", name);
    at = strstr(text, start);
    at = at ? strstr(at, "} ") : NULL;
    if (at)
        *ret_value = strtoull(at + 2, NULL, 10);
}

void demo_watch_metrics(struct demo_watch *watch)
{
    struct buffer answer;
    const char *text;

    if (!watch->port)
        return;
    buffer_init(&answer, METRICS_MOST);
    get_metrics(watch->port, &answer);
    text = buffer_text(&answer);
    read_metric(text, "messages_done_total", &watch->done);
    read_metric(text, "messages_duplicate_total", &watch->duplicates);
    read_metric(text, "messages_dead_total", &watch->dead);
    read_metric(text, "invocations_total", &watch->invocations);
    read_metric(text, "invocations_failed_total", &watch->failed);
    read_metric(text, "messages_retried_total", &watch->retried);
    read_metric(text, "invocations_in_flight", &watch->in_flight);
    read_metric(text, "invocations_limit", &watch->limit);
    read_metric(text, "messages_unfinished", &watch->unfinished);
    read_metric(text, "batches_waiting", &watch->waiting);
    read_metric(text, "suspects", &watch->suspects);
    read_metric(text, "lanes", &watch->lanes);
    buffer_fini(&answer);
}
