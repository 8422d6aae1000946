/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/replays.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/json_value.h"
#include "service/replay_json.h"

#define LOOK_US  (50 * CLOCK_MS)
#define DRAIN_US (30 * CLOCK_SECOND) /* where who stops a replay does not say */

enum state { CHOOSING, RUNNING, ENDED, REFUSED };

/* One replay, on a thread that chooses the letters and waits for its end. */
struct entry {
    struct replays *replays;
    struct entry *next; /* an older one */
    uint64_t number;
    int64_t began_wall_us, ended_wall_us;
    struct replay_order_memory memory;
    struct supervisor_hold *hold;
    struct replay_context context;
    pthread_t thread;

    enum state state;
    struct replay_status status;
    struct fault fault; /* REFUSED */
    unsigned stops;     /* asked for */
    int64_t drain_us;
};

struct replays {
    struct supervisor *supervisor;
    pthread_mutex_t mutex; /* guards what follows, and what changes of the entries */
    pthread_cond_t changed;
    struct entry *newest;
    size_t running, kept;
    struct replays_totals forgotten; /* of entries that are no longer kept */
    uint64_t last_number;
};

struct replays *replays_new(struct supervisor *supervisor)
{
    struct replays *replays = memory_zero(1, sizeof *replays);

    replays->supervisor = supervisor;
    pthread_mutex_init(&replays->mutex, NULL);
    pthread_cond_init(&replays->changed, NULL);
    return replays;
}

/* ---- the thread ---- */

static void wait_a_little(struct replays *replays)
{
    int64_t until_us = clock_wall() + LOOK_US;
    struct timespec until = {.tv_sec = until_us / CLOCK_SECOND,
                             .tv_nsec = until_us % CLOCK_SECOND * 1000};

    pthread_cond_timedwait(&replays->changed, &replays->mutex, &until);
}

/* With the lock held. */
static void watch(struct entry *entry, struct replay *replay)
{
    struct replays *replays = entry->replays;
    unsigned stops = 0;

    for (;;) {
        struct replay_status status;

        pthread_mutex_unlock(&replays->mutex);
        replay_read_status(replay, &status);
        pthread_mutex_lock(&replays->mutex);
        entry->status = status;
        if (status.ended)
            return;
        if (stops != entry->stops) {
            stops = entry->stops;
            replay_stop(replay, entry->drain_us);
        }
        wait_a_little(replays);
    }
}

static void log_end(const struct entry *entry)
{
    const struct replay_status *status = &entry->status;

    if (entry->state == REFUSED)
        log_event(LOG_ERROR, "replay_refused", LOG_NUMBER("replay", (int64_t)entry->number),
                  LOG_TEXT("error", entry->fault.text));
    else
        log_event(LOG_INFO, "replay_ended", LOG_NUMBER("replay", (int64_t)entry->number),
                  LOG_NUMBER("selected", (int64_t)status->selected),
                  LOG_NUMBER("done", (int64_t)status->done),
                  LOG_NUMBER("already", (int64_t)status->already),
                  LOG_NUMBER("died", (int64_t)status->died));
}

static void *run(void *argument)
{
    struct entry *entry = argument;
    struct replays *replays = entry->replays;
    struct fault fault = {.text = ""};
    struct replay *replay = replay_start(&entry->context, &entry->memory.order, &fault);

    pthread_mutex_lock(&replays->mutex);
    if (replay) {
        entry->state = RUNNING;
        watch(entry, replay);
    }
    pthread_mutex_unlock(&replays->mutex);
    replay_free(replay);
    supervisor_let_go(entry->hold);
    pthread_mutex_lock(&replays->mutex);
    entry->state = replay ? ENDED : REFUSED;
    entry->fault = fault;
    entry->ended_wall_us = clock_wall();
    replays->running--;
    log_end(entry);
    pthread_mutex_unlock(&replays->mutex);
    return NULL;
}

/* ---- the list ---- */

static bool has_ended(const struct entry *entry)
{
    return entry->state == ENDED || entry->state == REFUSED;
}

static void entry_free(struct entry *entry)
{
    pthread_join(entry->thread, NULL);
    replay_order_fini(&entry->memory);
    free(entry);
}

static void add_totals(struct replays_totals *sum, const struct replay_status *status)
{
    sum->done += status->done;
    sum->already += status->already;
    sum->died += status->died;
    sum->gone += status->gone;
    sum->changed += status->changed;
}

void replays_read_totals(struct replays *replays, struct replays_totals *ret_totals)
{
    pthread_mutex_lock(&replays->mutex);
    *ret_totals = replays->forgotten;
    ret_totals->running = replays->running;
    for (const struct entry *entry = replays->newest; entry; entry = entry->next)
        add_totals(ret_totals, &entry->status);
    pthread_mutex_unlock(&replays->mutex);
}

/* Forgets the oldest that ended where there are too many. With the lock held. */
static void forget_old(struct replays *replays)
{
    struct entry **oldest = NULL, *entry;

    for (struct entry **at = &replays->newest; *at; at = &(*at)->next)
        if (has_ended(*at))
            oldest = at;
    if (replays->kept < REPLAYS_KEPT || !oldest)
        return;
    entry = *oldest;
    *oldest = entry->next;
    replays->kept--;
    add_totals(&replays->forgotten, &entry->status);
    pthread_mutex_unlock(&replays->mutex); /* its last steps take it */
    entry_free(entry);
    pthread_mutex_lock(&replays->mutex);
}

/* The replay of that number as text; NULL with an answer that says so. */
static struct entry *find(struct replays *replays, const char *number, struct router_answer *answer)
{
    char *end;
    uint64_t wanted = strtoull(number, &end, 10);

    for (struct entry *entry = replays->newest; entry && !*end; entry = entry->next)
        if (entry->number == wanted)
            return entry;
    router_refuse(answer, 404, "there is no replay %.32s; GET /v1/replays lists them", number);
    return NULL;
}

static json_t *entry_json(const struct entry *entry)
{
    static const char *const states[] = {
        [CHOOSING] = "choosing", [RUNNING] = "running", [ENDED] = "ended", [REFUSED] = "refused"};
    const struct dead_letter_act *act = &entry->memory.order.act;
    json_t *object = json_object();

    json_object_set_new(object, "id", json_integer((json_int_t)entry->number));
    json_object_set_new(object, "state", json_string(states[entry->state]));
    json_object_set_new(object, "stopping", json_boolean(entry->stops && !has_ended(entry)));
    json_object_set_new(object, "stopped", json_boolean(entry->stops && has_ended(entry)));
    json_object_set_new(object, "began", json_value_time(entry->began_wall_us));
    json_object_set_new(object, "ended", json_value_time(entry->ended_wall_us));
    json_object_set_new(object, "uid", act->uid == DEAD_LETTER_NO_UID ? json_null()
                                                                      : json_integer(act->uid));
    json_object_set_new(object, "login", json_value_text(act->login));
    json_object_set_new(object, "detail", json_value_text(act->detail));
    replay_status_write(&entry->status, object);
    if (entry->state == REFUSED)
        json_object_set_new(object, "reason", json_value_text(entry->fault.text));
    return object;
}

/* ---- handlers ---- */

/* Whether it would have to wait for others; with an answer that says so. A letter that gets a new token
 * while another replay has it out with its old one would be sent twice. With the lock held. */
static bool must_wait(const struct replays *replays, bool force, struct router_answer *answer)
{
    bool choosing = false;

    for (const struct entry *entry = replays->newest; entry; entry = entry->next)
        choosing |= entry->state == CHOOSING && entry->memory.order.force;
    if (replays->running >= REPLAYS_MOST)
        router_refuse(answer, 409, "%d replays run already; wait for one, or stop it",
                      REPLAYS_MOST);
    else if (force && replays->running)
        router_refuse(answer, 409,
                      "new tokens cannot be given while another replay runs; wait for it, or stop it");
    else if (choosing)
        router_refuse(answer, 409, "another replay gives new tokens just now; try again in a moment");
    else
        return false;
    return true;
}

/* Makes the entry run. With the lock held. */
static int begin(struct replays *replays, struct entry *entry)
{
    int failed;

    entry->replays = replays;
    entry->began_wall_us = clock_wall();
    entry->number = replays->last_number + 1;
    failed = pthread_create(&entry->thread, NULL, run, entry);
    if (failed)
        return failed;
    pthread_setname_np(entry->thread, "replay");
    replays->last_number++;
    entry->next = replays->newest;
    replays->newest = entry;
    replays->running++;
    replays->kept++;
    log_event(LOG_INFO, "replay_begun", LOG_NUMBER("replay", (int64_t)entry->number),
              LOG_TEXT("login", entry->memory.order.act.login),
              LOG_TEXT("detail", entry->memory.order.act.detail));
    return 0;
}

static void entry_drop(struct entry *entry)
{
    supervisor_let_go(entry->hold);
    replay_order_fini(&entry->memory);
    free(entry);
}

static void begin_replay(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct replays *replays = argument;
    struct entry *entry = memory_zero(1, sizeof *entry);
    struct dead_letter_act *act = &entry->memory.order.act;
    struct unix_socket_peer peer = {0};
    struct fault fault;
    int failed = -1;

    if (replay_order_read(call->body, &entry->memory, &fault) != 0) {
        router_refuse(answer, 422, "%s", fault.text);
        entry_drop(entry);
        return;
    }
    if (!(entry->hold = supervisor_hold(replays->supervisor, &entry->context))) {
        router_refuse(answer, 503, "the service is stopping");
        entry_drop(entry);
        return;
    }
    act->action = "replay";
    act->uid = http_server_peer(call->request, &peer) ? peer.uid : DEAD_LETTER_NO_UID;
    act->wall_us = clock_wall();
    act->detail = act->detail ? act->detail : "";
    act->login = act->login ? act->login : "";
    pthread_mutex_lock(&replays->mutex);
    forget_old(replays);
    if (!must_wait(replays, entry->memory.order.force, answer)) {
        failed = begin(replays, entry);
        if (failed)
            router_refuse(answer, 503, "cannot start a thread: %s", strerror(failed));
        else
            answer->body = entry_json(entry);
    }
    pthread_mutex_unlock(&replays->mutex);
    if (failed)
        entry_drop(entry);
    else
        answer->status = 202;
}

static void list_replays(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct replays *replays = argument;
    json_t *list = json_array();

    (void)call;
    pthread_mutex_lock(&replays->mutex);
    for (const struct entry *entry = replays->newest; entry; entry = entry->next)
        json_array_append_new(list, entry_json(entry));
    pthread_mutex_unlock(&replays->mutex);
    answer->body = json_pack("{s:o}", "replays", list);
}

static void show_replay(void *argument, const struct router_call *call,
                        struct router_answer *answer)
{
    struct replays *replays = argument;
    const struct entry *entry;

    pthread_mutex_lock(&replays->mutex);
    entry = find(replays, call->parameters[0], answer);
    if (entry)
        answer->body = entry_json(entry);
    pthread_mutex_unlock(&replays->mutex);
}

static void stop_replay(void *argument, const struct router_call *call,
                        struct router_answer *answer)
{
    const json_t *drain = json_object_get(call->body, "drain_us");
    struct replays *replays = argument;
    struct entry *entry;

    if (drain && (!json_is_integer(drain) || json_integer_value(drain) < 0)) {
        router_refuse(answer, 422, "drain_us: a number not below 0 is expected");
        return;
    }
    pthread_mutex_lock(&replays->mutex);
    entry = find(replays, call->parameters[0], answer);
    if (entry) {
        entry->drain_us = drain ? json_integer_value(drain) : DRAIN_US;
        entry->stops++;
        pthread_cond_broadcast(&replays->changed);
        answer->body = entry_json(entry);
    }
    pthread_mutex_unlock(&replays->mutex);
}

void replays_add_routes(struct replays *replays, struct router *router)
{
    static const struct router_route routes[] = {
        {"POST", "/v1/replays", begin_replay},
        {"GET", "/v1/replays", list_replays},
        {"GET", "/v1/replays/{id}", show_replay},
        {"POST", "/v1/replays/{id}/stop", stop_replay},
        {0},
    };

    router_add(router, routes, replays);
}

/* ---- the end ---- */

void replays_stop(struct replays *replays, int64_t drain_us)
{
    pthread_mutex_lock(&replays->mutex);
    for (struct entry *entry = replays->newest; entry; entry = entry->next) {
        entry->drain_us = drain_us;
        entry->stops++;
    }
    pthread_cond_broadcast(&replays->changed);
    pthread_mutex_unlock(&replays->mutex);
}

bool replays_ended(struct replays *replays)
{
    bool ended;

    pthread_mutex_lock(&replays->mutex);
    ended = !replays->running;
    pthread_mutex_unlock(&replays->mutex);
    return ended;
}

void replays_free(struct replays *replays)
{
    struct entry *entry;

    if (!replays)
        return;
    replays_stop(replays, 0);
    while ((entry = replays->newest)) {
        replays->newest = entry->next;
        entry_free(entry);
    }
    pthread_cond_destroy(&replays->changed);
    pthread_mutex_destroy(&replays->mutex);
    free(replays);
}
