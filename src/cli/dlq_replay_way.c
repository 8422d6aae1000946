/* SPDX-License-Identifier: MIT */
#include "cli/dlq_replay_way.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/control.h"
#include "cli/dlq_inside.h"
#include "io/control_client.h"
#include "service/replay_alone.h"
#include "service/replay_json.h"

#define TIMEOUT_US   (20 * CLOCK_SECOND)
#define DETAIL_SHOWN 100 /* characters of what a replay was begun with */

static int complain(const struct fault *fault, int code)
{
    fprintf(stderr, "sluice dlq replay: %s\n", fault->text);
    return code;
}

static enum control_outcome ask(const struct dlq_replay_way *way, const char *method,
                                const char *path, const json_t *body, json_t **ret_answer,
                                struct fault *fault)
{
    return control_client_ask(way->socket, method, path, body, TIMEOUT_US, ret_answer, fault);
}

/* ---- which way ---- */

/* Whether the service behind the socket is the one that has the state directory, or will not say. */
static bool is_holder(const char *socket, long holder)
{
    json_t *answer = NULL;
    struct fault fault;
    enum control_outcome outcome;
    bool same;

    if (access(socket, F_OK))
        return false;
    outcome = control_client_ask(socket, "GET", "/v1/status", NULL, TIMEOUT_US, &answer, &fault);
    same = outcome == CONTROL_FORBIDDEN ||
           json_integer_value(json_object_get(answer, "pid")) == holder;
    json_decref(answer);
    return same;
}

/* Its socket: memory of the caller's. Where systemd runs it, that is below /run, which only the service
 * is told: an instance with its state in /var/lib/NAME has it in /run/NAME. */
static char *find_socket(const struct dlq_replay_way *way,
                         const struct service_settings *settings)
{
    const char *slash = strrchr(settings->state_directory, '/');
    char *here = memory_format("/run/%s/control.sock",
                               slash ? slash + 1 : settings->state_directory);
    char *usual = control_find(&(struct control_place){0});
    const char *candidates[] = {settings->control, here, usual}, *found = settings->control;
    char *socket;

    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (is_holder(candidates[i], way->holder)) {
            found = candidates[i];
            break;
        }
    socket = memory_text(found);
    free(here);
    free(usual);
    return socket;
}

static int open_service(struct dlq_replay_way *way, const struct configuration *configuration)
{
    json_t *answer = NULL;
    struct fault fault;
    enum control_outcome outcome;

    way->socket = find_socket(way, &configuration->service);
    outcome = ask(way, "GET", "/v1/replays", NULL, &answer, &fault);
    json_decref(answer);
    if (outcome == CONTROL_ANSWERED)
        return EX_OK;
    if (outcome == CONTROL_NOT_RUNNING)
        fprintf(stderr,
                "sluice dlq replay: process %ld, another replay, or a service without control socket, works on "
                "%s; wait until it has ended\n",
                way->holder, configuration->service.state_directory);
    else
        fprintf(stderr,
                "sluice dlq replay: process %ld has its state directory %s, and takes no orders: %s\n",
                way->holder, configuration->service.state_directory, fault.text);
    free(way->socket);
    way->socket = NULL;
    return outcome == CONTROL_FORBIDDEN ? EX_NOPERM : EX_TEMPFAIL;
}

int dlq_replay_way_open(struct dlq_replay_way *way, const struct configuration *configuration)
{
    struct fault fault;

    *way = (struct dlq_replay_way){
        .holder = replay_alone_holder(configuration->service.state_directory)};
    if (way->holder >= 0)
        return open_service(way, configuration);
    way->alone = replay_alone_open(configuration, &way->context, &fault);
    return way->alone ? EX_OK : dlq_failed(&fault);
}

void dlq_replay_way_close(struct dlq_replay_way *way)
{
    replay_alone_close(way->alone);
    way->alone = NULL;
    free(way->socket);
    way->socket = NULL;
}

/* ---- a replay ---- */

static int begin_in_service(struct dlq_replay_way *way, const struct replay_order *order)
{
    struct fault fault;
    json_t *body = replay_order_write(order, &fault), *answer = NULL;
    enum control_outcome outcome;

    if (!body)
        return complain(&fault, EX_DATAERR);
    outcome = ask(way, "POST", "/v1/replays", body, &answer, &fault);
    way->number = json_integer_value(json_object_get(answer, "id"));
    json_decref(body);
    json_decref(answer);
    if (outcome == CONTROL_ANSWERED)
        return EX_OK;
    return complain(&fault, outcome == CONTROL_FORBIDDEN ? EX_NOPERM : EX_TEMPFAIL);
}

int dlq_replay_way_begin(struct dlq_replay_way *way, const struct replay_order *order)
{
    struct fault fault;

    if (way->socket)
        return begin_in_service(way, order);
    way->replay = replay_start(&way->context, order, &fault);
    return way->replay ? EX_OK : complain(&fault, EX_CONFIG);
}

/* `ending`: "" or "/stop". */
static enum control_outcome ask_about(const struct dlq_replay_way *way, const char *method,
                                      const char *ending, const json_t *body, json_t **ret_answer,
                                      struct fault *fault)
{
    char *path = memory_format("/v1/replays/%lld%s", way->number, ending);
    enum control_outcome outcome = ask(way, method, path, body, ret_answer, fault);

    free(path);
    return outcome;
}

/* What there is in place of a replay that is not. */
static void tell_replays(const struct dlq_replay_way *way)
{
    json_t *answer = NULL, *one;
    struct fault fault;
    size_t i;

    if (ask(way, "GET", "/v1/replays", NULL, &answer, &fault) != CONTROL_ANSWERED)
        return;
    if (json_array_size(json_object_get(answer, "replays")))
        fputs("It has had:\n", stderr);
    json_array_foreach(json_object_get(answer, "replays"), i, one)
    {
        const char *state = json_string_value(json_object_get(one, "state"));
        const char *detail = json_string_value(json_object_get(one, "detail"));

        fprintf(stderr, "  %lld  %s  ", (long long)json_integer_value(json_object_get(one, "id")),
                state ? state : "?");
        for (size_t n = 0; detail && detail[n] && n < DETAIL_SHOWN; n++)
            fputc(detail[n] >= 0x20 && detail[n] < 0x7f ? detail[n] : '?', stderr);
        fputc('\n', stderr);
    }
    json_decref(answer);
}

int dlq_replay_way_attach(struct dlq_replay_way *way, long long number)
{
    json_t *answer = NULL;
    struct fault fault;
    enum control_outcome outcome;

    way->number = number;
    outcome = ask_about(way, "GET", "", NULL, &answer, &fault);
    json_decref(answer);
    if (outcome == CONTROL_REFUSED) {
        fprintf(stderr, "sluice dlq replay: the service has no replay %lld\n", number);
        tell_replays(way);
        return EX_DATAERR;
    }
    return outcome == CONTROL_ANSWERED ? EX_OK : complain(&fault, EX_DATAERR);
}

int dlq_replay_way_status(struct dlq_replay_way *way, struct replay_status *ret_status)
{
    json_t *answer = NULL;
    const char *state;
    struct fault fault;
    int code = EX_OK;

    if (!way->socket) {
        replay_read_status(way->replay, ret_status);
        return EX_OK;
    }
    if (ask_about(way, "GET", "", NULL, &answer, &fault) != CONTROL_ANSWERED) {
        way->stopped = true;
        code = EX_UNAVAILABLE; /* what it had done by the last look is in *ret_status */
    } else {
        replay_status_read(answer, ret_status);
        state = json_string_value(json_object_get(answer, "state"));
        way->stopped = json_is_true(json_object_get(answer, "stopped"));
        ret_status->ended = state && strcmp(state, "ended") == 0;
        if (state && strcmp(state, "refused") == 0) {
            fault_set(&fault, "%s", ret_status->text);
            code = complain(&fault, EX_CONFIG);
        }
    }
    json_decref(answer);
    return code;
}

void dlq_replay_way_stop(struct dlq_replay_way *way, int64_t drain_us)
{
    json_t *body, *answer = NULL;
    struct fault fault;

    if (!way->socket) {
        replay_stop(way->replay, drain_us);
        return;
    }
    body = json_pack("{s:I}", "drain_us", (json_int_t)drain_us);
    ask_about(way, "POST", "/stop", body, &answer, &fault); /* the next look shows what became of it */
    json_decref(body);
    json_decref(answer);
}

void dlq_replay_way_end(struct dlq_replay_way *way)
{
    replay_free(way->replay);
    way->replay = NULL;
}
