/* SPDX-License-Identifier: MIT */
#include "service/replay_source.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service/poller_inside.h"
#include "service/replay_letter.h"
#include "service/replay_remover.h"

#define LANES_MOST    256 /* worked on at once */
#define REMOVE_MOST   20000 /* done, and not out of the store yet */
#define AGAIN_US      (500 * CLOCK_MS)
#define FAILURES_SEEN 10
#define FIRST_LETTERS 32 /* out at first, and so many for each that is done: where all fail, few do */
#define MORE_LETTERS  4

struct replay_lane {
    struct replay_lane *next; /* of those worked on, in a ring by turns */
    size_t at, end;           /* its letters that are left */
    size_t picked;            /* of them, to be delivered next */
    size_t out;               /* letters at the engine */
    void *host_lane;          /* NULL: not opened yet */
    bool paused, closing, drained;
};

struct replay_source {
    struct sluice_connector descriptor;
    struct sluice_host *host;
    const struct sluice_host_api *api;
    struct replay_source_settings settings;
    int64_t *numbers; /* of the letters; the last one of each lane is negative */
    char *directory, *detail, *login;
    int wake;
    bool woken; /* by this thread, since it last looked */

    struct dead_letter_store *store; /* to read */
    struct replay_remover *remover;
    struct replay_lane *turn; /* a ring; NULL: none */
    size_t lane_count, next;
    int64_t next_us; /* when the rate allows the next letter */
    bool failing; /* the remover, when it was last asked */
    bool stopping;
    int64_t stop_us;

    atomic_uint_fast64_t delivered, done, already, died, gone, changed, settled;
    atomic_bool too_many;
};

/* ---- letters ---- */

void replay_source_name(const void *handle, struct dead_letter *letter)
{
    const struct replay_letter *own = handle;

    letter->replay = true;
    memcpy(letter->id, own->id, sizeof letter->id);
}

const struct sluice_message *replay_source_message(const void *handle)
{
    return &((const struct replay_letter *)handle)->message;
}

/* ---- what is finished ---- */

/* Many letters are settled in one turn: one call of the kernel is enough. */
static void wake(struct replay_source *source)
{
    const uint64_t one = 1;

    if (!source->woken)
        source->woken = write(source->wake, &one, sizeof one) == sizeof one;
}

static bool fails_too_often(struct replay_source *source)
{
    uint64_t died = atomic_load(&source->died), all = atomic_load(&source->settled);

    return source->settings.max_failures ? died >= source->settings.max_failures
                                         : died >= FAILURES_SEEN && died * 2 > all;
}

void replay_source_settle(struct replay_source *source, void *handle, enum verdict verdict)
{
    struct replay_letter *letter = handle;

    letter->lane->out--;
    atomic_fetch_add(&source->settled, 1);
    /* What a filter leaves out now stays: nobody asked for it to be dropped. */
    if (verdict == VERDICT_DONE || verdict == VERDICT_DUPLICATE)
        replay_remover_add(source->remover, letter->number, letter->edits);
    else
        replay_remover_died(source->remover);
    atomic_fetch_add(verdict == VERDICT_DONE        ? &source->done
                     : verdict == VERDICT_DUPLICATE ? &source->already
                                                    : &source->died,
                     1);
    if (!source->stopping && fails_too_often(source)) {
        atomic_store(&source->too_many, true);
        source->stopping = true;
        source->stop_us = clock_now() + source->settings.drain_us;
    }
    wake(source);
}

/* Whether the letters that are done can be taken out; the service is told where not. */
static bool watch_remover(struct replay_source *source, struct replay_remover_state *ret_state)
{
    replay_remover_state(source->remover, ret_state);
    atomic_store(&source->changed, ret_state->changed);
    if (ret_state->failing)
        source->api->state(source->host, SLUICE_STATE_FAILED, ret_state->fault.text);
    else if (source->failing)
        source->api->state(source->host, SLUICE_STATE_RUNNING, NULL);
    source->failing = ret_state->failing;
    return !ret_state->failing;
}

/* ---- lanes ---- */

static void link_lane(struct replay_source *source, struct replay_lane *lane)
{
    if (source->turn) {
        lane->next = source->turn->next;
        source->turn->next = lane;
    } else {
        lane->next = lane;
    }
    source->turn = lane;
    source->lane_count++;
}

/* Takes out the lane after `before`. */
static void drop_lane(struct replay_source *source, struct replay_lane *before)
{
    struct replay_lane *lane = before->next;

    if (lane->host_lane)
        source->api->lane_lost(source->host, lane->host_lane);
    before->next = lane->next;
    if (source->turn == lane)
        source->turn = lane == before ? NULL : before;
    source->lane_count--;
    free(lane);
}

/* Begins with lanes that had no turn yet. */
static void begin_lanes(struct replay_source *source)
{
    while (source->lane_count < LANES_MOST && source->next < source->settings.count) {
        struct replay_lane *lane = memory_zero(1, sizeof *lane);

        lane->at = source->next;
        while (source->numbers[source->next] > 0)
            source->next++;
        lane->end = ++source->next;
        link_lane(source, lane);
    }
}

static void end_lanes(struct replay_source *source)
{
    size_t count = source->lane_count;
    struct replay_lane *before = source->turn;

    for (size_t i = 0; i < count && before; i++) {
        if (before->next->at == before->next->end && !before->next->out) {
            bool last = source->lane_count == 1;

            drop_lane(source, before);
            if (last)
                break;
        } else {
            before = before->next;
        }
    }
}

struct open_lane {
    struct replay_source *source;
    struct replay_lane *lane;
};

static int open_lane(void *argument, const struct dead_letter *letter)
{
    const struct open_lane *open = argument;
    const struct sluice_lane info = {.name = letter->lane,
                                     .source = letter->source,
                                     .partition = letter->partition,
                                     .cookie = open->lane};

    open->lane->host_lane = open->source->api->lane_opened(open->source->host, &info);
    return 1;
}

/* ---- delivering ---- */

static void hand_over(struct replay_source *source, struct replay_letter *letter)
{
    struct sluice_message message = letter->message;

    message.lane = letter->lane->host_lane;
    message.handle = letter;
    message.identity = letter->token;
    message.delivery_count = 0; /* its attempts begin anew */
    source->api->deliver(source->host, &message, 1);
}

/* The lane whose turn it is; NULL: none can take a letter now. */
static struct replay_lane *next_lane(struct replay_source *source)
{
    for (size_t i = 0; i < source->lane_count; i++) {
        source->turn = source->turn->next;
        if (source->turn->at + source->turn->picked < source->turn->end && !source->turn->paused)
            return source->turn;
    }
    return NULL;
}

/* Letters that may go out now. */
static size_t room_by_success(struct replay_source *source)
{
    uint64_t good = atomic_load(&source->done) + atomic_load(&source->already);
    uint64_t out = atomic_load(&source->delivered) - atomic_load(&source->settled);
    uint64_t most = FIRST_LETTERS + MORE_LETTERS * good;

    return out < most ? (size_t)(most - out) : 0;
}

/* Letters that the rate allows; with none *ret_again_us is when it allows one. */
static size_t room_by_rate(struct replay_source *source, int64_t *ret_again_us)
{
    int64_t now = clock_now(), step;

    if (!source->settings.rate)
        return SIZE_MAX;
    step = CLOCK_SECOND / source->settings.rate;
    if (source->next_us < now - CLOCK_SECOND / 10)
        source->next_us = now - CLOCK_SECOND / 10;
    if (source->next_us > now) {
        *ret_again_us = source->next_us - now;
        return 0;
    }
    return step ? (size_t)((now - source->next_us) / step + 1) : SIZE_MAX;
}

/* Whose turn it is, at most `most`. */
static size_t pick_by_turns(struct replay_source *source, struct replay_pick *picks, size_t most)
{
    size_t count = 0;

    while (count < most) {
        struct replay_lane *lane = next_lane(source);
        size_t at;

        if (!lane)
            break;
        at = lane->at + lane->picked++;
        picks[count++] = (struct replay_pick){
            .lane = lane, .at = at, .number = llabs(source->numbers[at])};
    }
    return count;
}

/* False where the store cannot be read now. */
static bool deliver(struct replay_source *source, const struct replay_pick *pick)
{
    struct replay_letter *letter = pick->letter;
    struct open_lane open = {source, pick->lane};
    struct fault fault;

    if (!pick->lane->host_lane &&
        source->store->ops->read(source->store, pick->number, open_lane, &open, &fault) < 0) {
        source->api->state(source->host, SLUICE_STATE_FAILED, fault.text);
        return false;
    }
    if (!pick->lane->host_lane) { /* removed since it was read */
        atomic_fetch_add(&source->gone, 1);
        free(letter);
        return true;
    }
    letter->lane = pick->lane;
    letter->lane->out++;
    atomic_fetch_add(&source->delivered, 1);
    hand_over(source, letter);
    return true;
}

/* A lane's letters go out in order: behind one that was not read all wait. Returns how many were dealt
 * with. */
static size_t deliver_picks(struct replay_source *source, struct replay_pick *picks, size_t count)
{
    size_t dealt = 0;

    for (size_t i = 0; i < count; i++)
        picks[i].lane->picked = 0;
    for (size_t i = 0; i < count; i++) {
        struct replay_pick *pick = &picks[i];

        if (pick->lane->at != pick->at || pick->state == REPLAY_UNREAD ||
            (pick->letter && !deliver(source, pick))) {
            free(pick->letter);
            continue;
        }
        if (pick->state == REPLAY_GONE)
            atomic_fetch_add(&source->gone, 1);
        else
            source->next_us += source->settings.rate ? CLOCK_SECOND / source->settings.rate : 0;
        pick->lane->at++;
        dealt++;
    }
    return dealt;
}

/* Delivers by turns until there is no room, no letter, or the rate is used up. Returns when to go
 * on. */
static int64_t deliver_some(struct replay_source *source, const struct sluice_room *room)
{
    struct replay_pick picks[REPLAY_PICKS];
    int64_t again_us = AGAIN_US;
    size_t most = room_by_rate(source, &again_us), count;
    struct fault fault;

    if (most > room_by_success(source))
        most = room_by_success(source);
    if (most > room->messages)
        most = room->messages;
    if (!most || !room->bytes)
        return again_us;
    count = pick_by_turns(source, picks, most < REPLAY_PICKS ? most : REPLAY_PICKS);
    if (replay_letters_read(source->store, picks, count, room->bytes, &fault) != 0)
        source->api->state(source->host, SLUICE_STATE_FAILED, fault.text);
    if (deliver_picks(source, picks, count) == REPLAY_PICKS)
        return 0;
    room_by_rate(source, &again_us);
    return again_us;
}

/* ---- stopping ---- */

/* What is in flight lands, then the lanes go. True: all of them have. */
static bool stop_lanes(struct replay_source *source)
{
    struct replay_lane *lane = source->turn;
    bool drained = true;

    for (size_t i = 0; i < source->lane_count; i++, lane = lane->next) {
        if (lane->host_lane && !lane->closing) {
            lane->closing = true;
            source->api->lane_closing(source->host, lane->host_lane);
        }
        drained &= !lane->host_lane || lane->drained;
    }
    if (!drained && clock_now() < source->stop_us)
        return false;
    while (source->turn)
        drop_lane(source, source->turn);
    return true;
}

/* ---- the connector ---- */

static int source_open(struct sluice_host *host, const struct sluice_host_api *api,
                       const struct sluice_values *values, void **ret_instance)
{
    struct replay_source *source = host->poller->context.replay;

    (void)values;
    source->host = host;
    source->api = api;
    *ret_instance = source;
    return 0;
}

static int source_start(void *instance, const char *name)
{
    struct replay_source *source = instance;
    struct fault fault;

    (void)name;
    source->remover =
        replay_remover_new(source->directory, &source->settings.act, source->wake, &fault);
    if (source->remover)
        source->store =
            dead_letter_store_sqlite_open(source->directory, DEAD_LETTER_WRITE_SOON, &fault);
    if (!source->store) {
        source->api->state(source->host, SLUICE_STATE_FAILED, fault.text);
        replay_remover_free(source->remover);
        source->remover = NULL;
        return -1;
    }
    source->api->state(source->host, SLUICE_STATE_RUNNING, NULL);
    return 0;
}

static int source_descriptor(void *instance)
{
    return ((struct replay_source *)instance)->wake;
}

/* Works on what is to be delivered. Returns whether all is settled; *ret_again_us: when to go on. */
static bool work(struct replay_source *source, const struct sluice_room *room, bool full,
                 int64_t *ret_again_us)
{
    if (source->stopping)
        return stop_lanes(source);
    end_lanes(source);
    begin_lanes(source);
    if (!full)
        *ret_again_us = deliver_some(source, room);
    end_lanes(source);
    return !source->lane_count && source->next == source->settings.count;
}

static int64_t source_receive(void *instance, const struct sluice_room *room)
{
    struct replay_source *source = instance;
    struct replay_remover_state removed;
    int64_t again_us = AGAIN_US;
    uint64_t woken;

    if (read(source->wake, &woken, sizeof woken) < 0)
        woken = 0;
    source->woken = false;
    watch_remover(source, &removed);
    if (!work(source, room, removed.waiting >= REMOVE_MOST, &again_us))
        return again_us;
    replay_remover_finish(source->remover);
    if (watch_remover(source, &removed) && removed.finished)
        source->api->stopped(source->host);
    return AGAIN_US;
}

static void source_release(void *instance, void *const *handles, size_t count)
{
    (void)instance;
    for (size_t i = 0; i < count; i++)
        free(handles[i]);
}

static size_t source_headers(void *instance, void *handle, struct sluice_header *ret_headers,
                             size_t room)
{
    const struct replay_letter *letter = handle;

    (void)instance;
    for (size_t i = 0; i < letter->header_count && i < room; i++)
        ret_headers[i] = letter->headers[i];
    return letter->header_count;
}

static void source_pause_lane(void *instance, void *cookie, bool paused)
{
    struct replay_lane *lane = cookie;

    lane->paused = paused;
    if (!paused)
        wake(instance);
}

static void source_lane_drained(void *instance, void *cookie)
{
    ((struct replay_lane *)cookie)->drained = true;
    wake(instance);
}

static void source_lag(void *instance, void *lane, struct sluice_lag *ret_lag)
{
    (void)instance;
    (void)lane;
    *ret_lag = (struct sluice_lag){-1, -1};
}

static void source_stop(void *instance, int64_t deadline_us)
{
    struct replay_source *source = instance;

    source->stopping = true;
    source->stop_us = clock_now() + deadline_us;
    wake(source);
}

static void source_close(void *instance)
{
    struct replay_source *source = instance;

    while (source->turn)
        drop_lane(source, source->turn);
    if (source->store)
        source->store->ops->close(source->store);
    source->store = NULL;
    replay_remover_free(source->remover);
    source->remover = NULL;
}

static const struct sluice_connector connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof(struct sluice_connector),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = SLUICE_CAN_PAUSE_LANE | SLUICE_HAS_STABLE_IDENTITY | SLUICE_HAS_KEY,
    .version = SLUICE_VERSION,
    .description = "Dead letters of the local store",
    .open = source_open,
    .start = source_start,
    .descriptor = source_descriptor,
    .receive = source_receive,
    .release = source_release,
    .headers = source_headers,
    .pause_lane = source_pause_lane,
    .lane_drained = source_lane_drained,
    .lag = source_lag,
    .stop = source_stop,
    .close = source_close,
};

/* ---- its life ---- */

/* What is needed of places that are sorted, in their memory: a third of it. */
static int64_t *take_numbers(struct dead_letter_place *places, size_t count)
{
    int64_t *numbers = (int64_t *)places;

    for (size_t i = 0; i < count; i++) {
        const struct dead_letter_place place = places[i];
        bool last = i + 1 == count || places[i + 1].lane != place.lane;

        numbers[i] = last ? -place.number : place.number;
    }
    return memory_resize(numbers, count + 1, sizeof *numbers);
}

struct replay_source *replay_source_new(const struct replay_source_settings *settings)
{
    struct replay_source *source = memory_zero(1, sizeof *source);

    source->settings = *settings;
    source->settings.places = NULL;
    source->numbers = take_numbers(settings->places, settings->count);
    source->directory = memory_text(settings->state_directory);
    source->detail = memory_text(settings->act.detail);
    source->login = memory_text(settings->act.login);
    source->settings.act.detail = source->detail;
    source->settings.act.login = source->login;
    source->descriptor = connector;
    source->descriptor.name = settings->connector->name;
    source->descriptor.options = settings->connector->options;
    source->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return source;
}

void replay_source_free(struct replay_source *source)
{
    if (!source)
        return;
    if (source->wake >= 0)
        close(source->wake);
    free(source->numbers);
    free(source->directory);
    free(source->detail);
    free(source->login);
    free(source);
}

const struct sluice_connector *replay_source_connector(struct replay_source *source)
{
    return &source->descriptor;
}

void replay_source_counts(struct replay_source *source, struct replay_source_counts *ret_counts)
{
    *ret_counts = (struct replay_source_counts){
        .selected = source->settings.count,
        .delivered = atomic_load(&source->delivered),
        .done = atomic_load(&source->done),
        .already = atomic_load(&source->already),
        .died = atomic_load(&source->died),
        .gone = atomic_load(&source->gone),
        .changed = atomic_load(&source->changed),
        .too_many = atomic_load(&source->too_many),
    };
}
