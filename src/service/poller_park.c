/* SPDX-License-Identifier: MIT
 * Between the engine and the park: places for messages that wait long, and the way back. One poller of a
 * mapping takes out what is due, whichever of them parked it, and feeds it to its engine beside what its
 * source delivers: so target limits, pauses, evidence of who is to blame and claims are the same. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/hash.h"
#include "service/park.h"
#include "service/poller_inside.h"
#include "service/replay_letter.h"

#define TAKE_MOST      64 /* at once */
#define ROWS_MOST      2000 /* of one commit: what its source would drop must be there soon */
#define ROWS_BYTES     ((size_t)8 << 20)
#define LANES_MOST     32 /* kept while none of their messages is out */
#define READ_AGAIN_US  CLOCK_SECOND /* from the store */
#define READ_LATER_US  (60 * CLOCK_SECOND) /* what could not be read: what is due behind it comes first */
#define TELL_AGAIN_US  (60 * CLOCK_SECOND)

/* A lane of the engine for parked messages of one lane of the source. */
struct park_lane {
    struct park_lane *next;
    struct lane *lane;
};

/* A message out of the park, with a copy of what it points to. */
struct park_handle {
    struct replay_letter *copy;
    int64_t number;
    size_t bytes;
    uint64_t fingerprint; /* of its row */
    bool settled;
};

void poller_park_init(struct poller *poller)
{
    if (!poller->context.park)
        return;
    poller->park.lot = park_lot(poller->context.park, poller->mapping->name);
    poller->park.feeds = !poller->context.number;
}

void poller_park_fini(struct poller *poller)
{
    parked_store_close(poller->park.store);
    free(poller->park.orphans);
}

/* ---- into the park ---- */

static uint64_t queue_of_lane(const struct lane *lane)
{
    uint64_t name[2];

    hash_fingerprint(lane->name, strlen(lane->name), name);
    return name[0] | LOT_IN_A_ROW;
}

static uint64_t queue_of_key(const struct poller *poller, const struct message *message)
{
    uint64_t key[2], whole[2], lane[2];

    hash_fingerprint(message->source.key.data, message->source.key.size, key);
    hash_fingerprint(message->lane->name, strlen(message->lane->name), lane);
    hash_fingerprint((const uint64_t[]){key[0], key[1], lane[0], lane[1]}, 4 * sizeof *key, whole);
    /* The numbers of rows that an older sluice wrote have 64 bits. */
    if (lot_queues(poller->park.lot, whole[0] | LOT_IN_A_ROW, false))
        return whole[0] | LOT_IN_A_ROW;
    whole[0] &= ~LOT_IN_A_ROW;
    return whole[0] ? whole[0] : 1;
}

/* What the message must not overtake has the same. */
static uint64_t queue_of(const struct poller *poller, const struct message *message)
{
    if (poller->mapping->rules.order == ORDER_LANE)
        return queue_of_lane(message->lane);
    if (poller->mapping->rules.order != ORDER_KEY || !message->source.key.data)
        return 0;
    return queue_of_key(poller, message);
}

/* Whether what the function is told to be its token names this message wherever it comes from. */
static bool has_token(const struct poller *poller, const struct message *message)
{
    return message->token ||
           (!message->from_park &&
            (message->source.identity.data ||
             poller->mapping->capabilities & SLUICE_HAS_STABLE_IDENTITY));
}

static void fingerprint_token(struct poller *poller, const struct message *message,
                              uint64_t ret_token[2])
{
    buffer_reset(&poller->tokens);
    if (message->token)
        buffer_add(&poller->tokens, message->token, message->token_size);
    else
        message_add_position_token(message, message->lane->name, &poller->tokens);
    hash_fingerprint(poller->tokens.data, poller->tokens.size, ret_token);
}

static uint64_t fingerprint_payload(const struct message *message)
{
    uint64_t fingerprint[2];

    hash_fingerprint(message->source.payload.data, message->source.payload.size, fingerprint);
    return fingerprint[0];
}

/* Of what tells messages of one token apart: see struct parked. */
static uint64_t fingerprint_of(const struct message *message)
{
    const struct park_handle *handle = message->source.handle;
    const struct sluice_bytes *key = &message->source.key;
    uint64_t of_key[2], whole[2], payload = fingerprint_payload(message);

    if (message->from_park)
        return handle->fingerprint;
    if (message->token || message->source.identity.size)
        return payload;
    hash_fingerprint(key->data, key->size, of_key);
    hash_fingerprint((const uint64_t[]){payload, of_key[0], key->data != NULL,
                                        (uint64_t)message->source.timestamp_ms},
                     4 * sizeof payload, whole);
    return whole[0];
}

static size_t bytes_of(struct poller *poller, const struct message *message)
{
    size_t bytes = LOT_PLACE_BYTES + message->bytes, count;

    count = message->source.has_headers ? poller_collect_headers(poller, message, 0) : 0;
    for (size_t i = 0; i < count; i++)
        bytes += poller->headers[i].name.size + poller->headers[i].value.size;
    return bytes;
}

static void tell_full(struct poller *poller)
{
    int64_t now_us = loop_now(poller->loop);

    if (poller->park.told_us && now_us - poller->park.told_us < TELL_AGAIN_US)
        return;
    poller->park.told_us = now_us;
    log_event(LOG_WARNING, "park_full", LOG_TEXT("mapping", poller->mapping->name),
              LOG_NUMBER("bytes", (int64_t)poller->mapping->rules.retry.park_bytes),
              LOG_TEXT("effect", "messages wait for their retry at the source until there is room; "
                                 "see retry.park_bytes"));
}

bool poller_park(void *argument, struct message *message, int64_t delay_us, bool follows)
{
    struct poller *poller = argument;
    struct lot_place place;

    if (!poller->park.lot)
        return false;
    if (!message->park_number) {
        place = (struct lot_place){
            .number = park_next_number(poller->context.park),
            .bytes = bytes_of(poller, message),
            .queue = queue_of(poller, message),
            .fingerprint = fingerprint_of(message),
        };
        if (has_token(poller, message))
            fingerprint_token(poller, message, place.token);
        if (!lot_reserve(poller->park.lot, &place,
                         follows ? 0 : poller->mapping->rules.retry.park_bytes)) {
            tell_full(poller);
            return false;
        }
        message->park_number = place.number;
        poller->park.must |= follows;
    }
    message->park_due_wall_us = follows ? 0 : clock_wall() + delay_us;
    return true;
}

void poller_park_begins(void *argument, const struct message *message)
{
    struct poller *poller = argument;

    lot_written(poller->park.lot, message->park_number, message->park_due_wall_us);
}

/* A row that is to be removed, as its message comes again. */
static void add_orphan(struct poller_park *park, int64_t number)
{
    if (park->orphan_count == park->orphan_room) {
        park->orphan_room = park->orphan_room ? park->orphan_room * 2 : 16;
        park->orphans = memory_resize(park->orphans, park->orphan_room, sizeof *park->orphans);
    }
    park->orphans[park->orphan_count++] = number;
}

void poller_unpark(void *argument, struct message *message, bool written)
{
    struct poller *poller = argument;

    if (message->from_park)
        return; /* it went back when it was released */
    lot_remove(poller->park.lot, message->park_number);
    if (written)
        add_orphan(&poller->park, message->park_number);
}

static void make_row(struct poller *poller, const struct message *message, struct parked *row)
{
    int64_t wall_us = clock_wall();

    *row = (struct parked){
        .number = message->park_number,
        .due_wall_us = message->park_due_wall_us,
        .parked_wall_us = wall_us,
        .queue = queue_of(poller, message),
        .bytes = bytes_of(poller, message),
        .fingerprint = fingerprint_of(message),
        .has_token = has_token(poller, message),
        .attempts = message->attempts,
        .named = message->named,
    };
    if (message->first_failed_us)
        row->first_failed_wall_us =
            wall_us - (loop_now(poller->loop) - message->first_failed_us);
    poller_make_letter(poller, message, &row->letter);
}

void poller_park_free_rows(struct recording *recording)
{
    for (size_t i = 0; i < recording->job.parked_count; i++)
        poller_free_letter(&recording->rows[i].letter);
    recording->job.parked_count = 0;
}

void poller_park_record(struct poller *poller, struct recording *recording)
{
    size_t count = 0;

    engine_take_parked(poller->engine, ROWS_MOST, ROWS_BYTES, &recording->messages);
    if (!recording->messages.count)
        return;
    recording->rows =
        memory_resize(recording->rows, recording->messages.count, sizeof *recording->rows);
    for (struct message *message = recording->messages.first; message; message = message->next)
        make_row(poller, message, &recording->rows[count++]);
    recording->job.parked = recording->rows;
    recording->job.parked_count = count;
    poller_submit(poller, recording);
}

/* ---- what the source delivers beside it ---- */

enum park_answer poller_parked(void *argument, const struct message *message)
{
    struct poller *poller = argument;
    uint64_t token[2], fingerprint, queue;

    if (!poller->park.lot ||
        (lot_is_empty(poller->park.lot) && lot_has_no_memory(poller->park.lot)))
        return PARK_HAS_NOTHING;
    if (has_token(poller, message)) {
        fingerprint_token(poller, message, token);
        if (lot_has(poller->park.lot, token, &fingerprint) &&
            fingerprint == fingerprint_of(message))
            return PARK_HAS_IT;
        /* What has a token of its own is looked up where tokens are recorded. */
        if (!message->token && lot_had(poller->park.lot, token, fingerprint_of(message)))
            return PARK_HAS_IT;
    }
    queue = queue_of(poller, message);
    return queue && lot_queues(poller->park.lot, queue, false) ? PARK_HAS_EARLIER : PARK_HAS_NOTHING;
}

bool poller_park_precedes(void *argument, const struct lane *lane, bool waiting)
{
    const struct poller *poller = argument;

    return poller->park.lot && lot_queues(poller->park.lot, queue_of_lane(lane), waiting);
}

enum claim poller_park_claim(struct poller *poller, const struct message *message)
{
    uint64_t token[2], fingerprint;

    if (message->from_park || !poller->park.lot || lot_is_empty(poller->park.lot))
        return CLAIM_MINE;
    fingerprint_token(poller, message, token);
    if (!lot_has(poller->park.lot, token, &fingerprint))
        return CLAIM_MINE;
    return fingerprint == message->fingerprint[0] ? CLAIM_RECORDED : CLAIM_CONFLICT;
}

size_t poller_park_receives(const struct poller *poller)
{
    size_t most = poller->mapping->rules.retry.park_bytes;
    struct lot_state state;

    /* Only what must be parked takes it over its bound, or a reload that makes it smaller. */
    if (!poller->park.lot || lot_is_empty(poller->park.lot) ||
        (poller->mapping->rules.order != ORDER_KEY && !poller->park.must))
        return SIZE_MAX;
    lot_state(poller->park.lot, &state);
    if (state.bytes <= most)
        return SIZE_MAX;
    /* Else a bad message whose key fills the park could wait for ever for the one that proves it. */
    return state.bytes / 2 <= most && engine_needs_witness(poller->engine) ? 1 : 0;
}

/* ---- out of it ---- */

size_t poller_park_headers(const void *pointer, struct sluice_header *ret, size_t room)
{
    const struct park_handle *handle = pointer;

    for (size_t i = 0; i < handle->copy->header_count && i < room; i++)
        ret[i] = handle->copy->headers[i];
    return handle->copy->header_count;
}

void poller_release_parked(void *argument, void *pointer)
{
    struct poller *poller = argument;
    struct park_handle *handle = pointer;

    if (!handle->settled)
        lot_back(poller->park.lot, handle->number, -1);
    poller->park.out--;
    poller->park.out_bytes -= handle->bytes;
    free(handle->copy);
    free(handle);
}

void poller_park_settle(struct poller *poller, const struct message *message)
{
    struct park_handle *handle = message->source.handle;

    handle->settled = true;
    if (message->verdict == VERDICT_PARKED)
        lot_back(poller->park.lot, handle->number, message->park_due_wall_us);
    else
        lot_remove(poller->park.lot, handle->number);
}

static void add_number(struct recording *recording, size_t at, int64_t number)
{
    if (at == recording->number_room) {
        recording->number_room = at ? at * 2 : 16;
        recording->numbers = memory_resize(recording->numbers, recording->number_room,
                                           sizeof *recording->numbers);
    }
    recording->numbers[at] = number;
}

size_t poller_park_list_done(struct poller *poller, struct recording *recording)
{
    size_t count = 0;

    while (poller->park.orphan_count)
        add_number(recording, count++, poller->park.orphans[--poller->park.orphan_count]);
    recording->orphan_count = count;
    for (struct message *message = recording->messages.first; message; message = message->next)
        if (message->from_park && message->verdict != VERDICT_PARKED)
            add_number(recording, count++, message->park_number);
    return count;
}

static struct park_handle *copy_parked(const struct parked *parked)
{
    struct park_handle *handle = memory_zero(1, sizeof *handle);

    handle->number = parked->number;
    handle->bytes = parked->bytes;
    handle->fingerprint = parked->fingerprint;
    handle->copy = replay_letter_copy(&parked->letter);
    if (!parked->has_token) /* what the function knows it by */
        handle->copy->message.identity = handle->copy->token;
    return handle;
}

static struct lane *lane_of(struct poller *poller, const struct dead_letter *letter)
{
    const struct sluice_lane info = {
        .name = letter->lane, .source = letter->source, .partition = letter->partition};
    struct park_lane *lane = poller->park.lanes;

    while (lane && strcmp(lane->lane->name, letter->lane) != 0)
        lane = lane->next;
    if (lane)
        return lane->lane;
    lane = memory_zero(1, sizeof *lane);
    lane->lane = engine_lane_open(poller->engine, &info, NULL);
    lane->lane->parked = true;
    lane->next = poller->park.lanes;
    poller->park.lanes = lane;
    poller->park.lane_count++;
    return lane->lane;
}

static int feed_one(void *argument, const struct parked *parked)
{
    struct poller *poller = argument;
    const struct dead_letter *letter = &parked->letter;
    struct park_handle *handle = copy_parked(parked);
    struct sluice_message message;
    int64_t now_us = loop_now(poller->loop);
    struct parked_story story = {
        .number = parked->number,
        .attempts = parked->attempts,
        .named = parked->named,
    };

    if (parked->has_token) {
        uint64_t payload[2];

        hash_fingerprint(letter->payload.data, letter->payload.size, payload);
        story.token = handle->copy->token;
        story.fingerprint = parked->fingerprint != payload[0] ? parked->fingerprint : 0;
    }
    if (letter->attempt_count)
        story.history = history_restore(letter->first_wall_us, letter->attempt_count,
                                        letter->attempts, letter->attempts_kept, letter->response);
    if (parked->first_failed_wall_us)
        story.first_failed_us = now_us - (clock_wall() - parked->first_failed_wall_us);
    poller->park.out++;
    poller->park.out_bytes += handle->bytes;
    message = handle->copy->message;
    message.lane = lane_of(poller, letter);
    message.handle = handle;
    engine_feed_parked(poller->engine, &message, &story, now_us);
    return 0;
}

/* The row and its place go in; false: the store cannot be read now. */
static bool take_out(struct poller *poller, int64_t number)
{
    struct fault fault = {.text = ""};
    int found;

    if (!poller->park.store)
        poller->park.store =
            parked_store_open(park_directory(poller->context.park), false, &fault);
    found = poller->park.store
                ? parked_store_read(poller->park.store, number, feed_one, poller, &fault)
                : -1;
    if (found > 0)
        return true;
    if (!found) {
        lot_remove(poller->park.lot, number); /* somebody else removed the row */
        return true;
    }
    lot_back(poller->park.lot, number, clock_wall() + READ_LATER_US);
    log_event(LOG_ERROR, "parked_unreadable", LOG_TEXT("mapping", poller->mapping->name),
              LOG_TEXT("error", fault.text),
              LOG_TEXT("effect", "parked messages wait until they can be read"));
    poller->park.retry_us = loop_now(poller->loop) + READ_AGAIN_US;
    return false;
}

static void drop_lanes(struct poller *poller)
{
    struct park_lane *lane;

    while ((lane = poller->park.lanes)) {
        poller->park.lanes = lane->next;
        engine_lane_lost(poller->engine, lane->lane);
        free(lane);
    }
    poller->park.lane_count = 0;
}

/* While the target is down nothing leaves the park, but for one to probe with where there is no other,
 * and, where it answers, a few that may be witnesses.
 * At most half of the buffer is out, so that the source has its part. */
static size_t room(const struct poller *poller)
{
    size_t most = poller->mapping->rules.buffer_messages / 2;

    if (engine_gate(poller->engine)->state != GATE_CLOSED)
        return engine_askable(poller->engine) && !engine_needs_witness(poller->engine) ? 0 : 1;
    most = most ? most : 1;
    if (poller->park.out >= most ||
        poller->park.out_bytes >= poller->mapping->rules.buffer_bytes / 2)
        return 0;
    return most - poller->park.out < TAKE_MOST ? most - poller->park.out : TAKE_MOST;
}

void poller_park_feed(struct poller *poller, int64_t now_us)
{
    struct poller_park *park = &poller->park;
    int64_t numbers[TAKE_MOST];
    size_t count, most, bytes;

    park->more = false;
    if (!park->feeds || poller->stopping || poller->paused || now_us < park->retry_us)
        return;
    if (!park->out && park->lane_count > LANES_MOST)
        drop_lanes(poller);
    most = lot_is_empty(park->lot) ? 0 : room(poller);
    if (!most)
        return;
    bytes = poller->mapping->rules.buffer_bytes / 2;
    bytes = bytes > park->out_bytes ? bytes - park->out_bytes : 1;
    count = lot_take(park->lot, clock_wall(), most, bytes, numbers);
    for (size_t i = 0; i < count; i++)
        if (!take_out(poller, numbers[i])) {
            /* Those behind it of its queue must not go before it. */
            while (++i < count)
                lot_back(park->lot, numbers[i], -1);
            return;
        }
    park->more = count == most;
}

int64_t poller_park_again_us(const struct poller *poller, int64_t now_us)
{
    const struct poller_park *park = &poller->park;
    struct lot_state state;
    int64_t wait_us;

    if (!park->feeds || poller->stopping || poller->paused || lot_is_empty(park->lot) ||
        !room(poller))
        return CLOCK_NEVER;
    if (now_us < park->retry_us)
        return park->retry_us;
    if (park->more)
        return now_us;
    lot_state(park->lot, &state);
    if (!state.waits)
        return CLOCK_NEVER;
    wait_us = state.due_wall_us - clock_wall();
    return now_us + (wait_us > 0 ? wait_us : 0);
}

/* ---- the end ---- */

void poller_park_close(struct poller *poller)
{
    for (struct park_lane *lane = poller->park.lanes; lane; lane = lane->next)
        if (!lane->lane->closing)
            engine_lane_close(poller->engine, lane->lane);
}

bool poller_park_drained(const struct poller *poller)
{
    for (const struct park_lane *lane = poller->park.lanes; lane; lane = lane->next)
        if (!lane->lane->drained)
            return false;
    return true;
}

static void wait_for_recorder(struct poller *poller)
{
    while (poller_recording(poller))
        loop_turn(poller->loop, clock_now() + CLOCK_SECOND);
}

void poller_park_end(struct poller *poller)
{
    struct recording *recording = &poller->parked;
    struct message_list unrecorded = {0};

    drop_lanes(poller);
    wait_for_recorder(poller);
    /* All are orphans by now. What was to be recorded and is not comes again from its source; but some of
       a job that failed may be there: rows and, what counts, a lane's record that trusts in a row. */
    if (recording->failing)
        engine_parked(poller->engine, &recording->messages);
    if (poller->finished.failing) {
        engine_durable(poller->engine, &poller->finished.messages);
        for (size_t i = 0; i < poller->finished.orphan_count; i++)
            add_orphan(&poller->park, poller->finished.numbers[i]);
    }
    engine_take_finished(poller->engine, &unrecorded);
    engine_durable(poller->engine, &unrecorded);
    if (!poller->park.orphan_count)
        return;
    poller_park_free_rows(recording);
    recording->job.unparked = poller->park.orphans;
    recording->job.unparked_count = poller->park.orphan_count;
    poller->park.orphan_count = 0;
    poller_submit(poller, recording);
    wait_for_recorder(poller);
}
