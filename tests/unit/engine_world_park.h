/* SPDX-License-Identifier: MIT
 * The park of the simulated world: rows, which a crash leaves, and over them the lot of
 * src/service/lot.h. Drives both as src/service/poller_park.c does. */
#ifndef ENGINE_WORLD_PARK_H
#define ENGINE_WORLD_PARK_H

#include "engine_world_ops.h"

#define TAKE_MOST 64

static struct row *row_of_number(const struct world *world, int64_t number)
{
    for (size_t i = 0; i < world->park.row_count; i++)
        if (world->park.rows[i].number == number)
            return &world->park.rows[i];
    return NULL;
}

/* ---- in ---- */

static void fingerprint_token(const struct message *message, struct row *row)
{
    struct buffer token;
    uint64_t print[2];

    buffer_init(&token, 100);
    if (message->token)
        buffer_add(&token, message->token, message->token_size);
    else
        message_add_position_token(message, message->lane->name, &token);
    row->token_size = token.size;
    memcpy(row->token, token.data, token.size);
    world_fingerprint(token.data, token.size, print);
    row->place.token[0] = print[0];
    row->place.token[1] = print[1];
    buffer_fini(&token);
}

static uint64_t queue_of_lane(const struct lane *lane)
{
    uint64_t print[2];

    world_fingerprint(lane->name, strlen(lane->name), print);
    return print[0] | LOT_IN_A_ROW;
}

static uint64_t queue_of(const struct world *world, const struct message *message)
{
    char text[32];
    uint64_t print[2];

    if (world->rules.order == ORDER_LANE)
        return queue_of_lane(message->lane);
    if (world->rules.order != ORDER_KEY || !message->source.key.data)
        return 0;
    snprintf(text, sizeof text, "%u/%s", item_of(message)->lane, item_of(message)->key);
    world_fingerprint(text, strlen(text), print);
    return (print[0] | 1) & ~LOT_IN_A_ROW;
}

/* The message as its row has it. */
static struct row make_row(const struct world *world, const struct message *message)
{
    const struct handle *handle = handle_of(message);
    struct row row = {
        .item = handle->item,
        .has_token = message->token || (!message->from_park && world->stable),
        .place = {.number = message->park_number,
                  .due_wall_us = message->park_due_wall_us,
                  .bytes = LOT_PLACE_BYTES + message->bytes,
                  .queue = queue_of(world, message)},
        .attempts = message->attempts,
        .named = message->named,
        .first_failed_us = message->first_failed_us,
        .counted = handle->counted,
        .other = handle->other,
    };
    uint64_t print[2];

    world_fingerprint(message->source.payload.data, message->source.payload.size, print);
    row.place.fingerprint = print[0];
    if (row.has_token)
        fingerprint_token(message, &row);
    if (message->history) {
        row.history_count = message->history->count;
        row.kept = message->history->kept;
        for (uint32_t i = 0; i < row.kept; i++)
            row.history[i] = message->history->attempts[i]->record;
    }
    return row;
}

static bool world_park(void *argument, struct message *message, int64_t delay_us, bool follows)
{
    struct world *world = argument;
    struct row row;

    assert_true(world->rules.order != ORDER_LANE || follows);
    assert_false(message->token && message->place == PLACE_CLAIM);
    if (!follows) {
        assert_false(gate_probing(engine_gate(world->engine)));
        assert_true(handle_of(message)->first_failed_us && delay_us > 0);
    }
    if (!message->park_number) {
        message->park_number = ++world->park.numbers;
        row = make_row(world, message);
        if (!lot_reserve(world->park.lot, &row.place,
                         follows ? 0 : world->rules.retry.park_bytes)) {
            message->park_number = 0;
            return false;
        }
    }
    world->parked++;
    message->park_due_wall_us = follows ? 0 : world->now_us + delay_us;
    return true;
}

static enum park_answer world_parked(void *argument, const struct message *message)
{
    struct world *world = argument;
    struct row row = make_row(world, message);
    uint64_t print;

    if (row.has_token && lot_has(world->park.lot, row.place.token, &print) &&
        print == row.place.fingerprint) {
        world->park.has_it = message;
        return PARK_HAS_IT;
    }
    if (row.has_token && !message->token &&
        lot_had(world->park.lot, row.place.token, row.place.fingerprint)) {
        world->park.has_it = message;
        return PARK_HAS_IT;
    }
    return row.place.queue && lot_queues(world->park.lot, row.place.queue, false) ? PARK_HAS_EARLIER
                                                                           : PARK_HAS_NOTHING;
}

static bool world_park_precedes(void *argument, const struct lane *lane, bool waiting)
{
    const struct world *world = argument;

    return lot_queues(world->park.lot, queue_of_lane(lane), waiting);
}

static void world_park_begins(void *argument, const struct message *message)
{
    struct world *world = argument;

    lot_written(world->park.lot, message->park_number, message->park_due_wall_us);
}

static void world_unpark(void *argument, struct message *message, bool written)
{
    struct world *world = argument;
    struct world_park *park = &world->park;

    if (message->from_park)
        return;
    lot_remove(park->lot, message->park_number);
    if (!written)
        return;
    park->orphans = memory_resize(park->orphans, park->orphan_count + 1, sizeof *park->orphans);
    park->orphans[park->orphan_count++] = message->park_number;
}

static enum claim world_claim_any(void *argument, struct message *message)
{
    struct world *world = argument;
    enum claim claim = world_claim(argument, message);
    struct row row;
    uint64_t print;

    if (claim != CLAIM_MINE || message->from_park)
        return claim;
    row = make_row(world, message);
    if (!lot_has(world->park.lot, row.place.token, &print))
        return claim;
    world_unclaim(argument, message);
    if (print != row.place.fingerprint)
        return CLAIM_CONFLICT;
    world->park.has_it = message;
    return CLAIM_RECORDED;
}

/* ---- rows ---- */

static void write_rows(struct world *world, size_t count)
{
    struct world_park *park = &world->park;

    for (size_t i = 0; i < count; i++) {
        struct row *old = row_of_number(world, park->writing[i].place.number);

        if (!old) {
            park->rows = memory_resize(park->rows, park->row_count + 1, sizeof *park->rows);
            old = &park->rows[park->row_count++];
        }
        *old = park->writing[i];
        old->number = old->place.number;
    }
}

static void list_writing(struct world *world)
{
    struct world_park *park = &world->park;
    size_t count = 0;

    park->writing = memory_resize(park->writing, park->job.messages.count + 1,
                                  sizeof *park->writing);
    for (const struct message *m = park->job.messages.first; m; m = m->next)
        park->writing[count++] = make_row(world, m);
}

/* What goes with the messages that are finished. */
static void list_unparked(struct world *world, const struct message_list *finished)
{
    struct world_park *park = &world->park;
    size_t count = 0;

    park->unparked = memory_resize(park->unparked, finished->count + park->orphan_count + 1,
                                   sizeof *park->unparked);
    while (park->orphan_count)
        park->unparked[count++] = park->orphans[--park->orphan_count];
    park->unparked_orphans = count;
    for (const struct message *m = finished->first; m; m = m->next)
        if (m->from_park && m->verdict != VERDICT_PARKED)
            park->unparked[count++] = m->park_number;
    park->unparked_count = count;
}

static void remove_rows(struct world *world, const int64_t *numbers, size_t count)
{
    struct world_park *park = &world->park;

    for (size_t i = 0; i < count; i++) {
        struct row *row = row_of_number(world, numbers[i]);

        if (row)
            *row = park->rows[--park->row_count];
    }
}

/* ---- out ---- */

static void world_release_parked(void *argument, void *pointer)
{
    struct world *world = argument;
    struct handle *handle = pointer;

    if (!handle->settled)
        lot_back(world->park.lot, handle->number, -1);
    world->park.out--;
    world->park.out_bytes -= handle->parked_bytes;
    world_release(argument, pointer);
}

static void world_settle_any(void *argument, struct lane *lane, const struct message *message,
                             uint64_t position)
{
    struct world *world = argument;

    if (!message || !message->from_park) {
        world_settle(argument, lane, message, position);
        return;
    }
    handle_of(message)->settled = true;
    if (message->verdict == VERDICT_PARKED)
        lot_back(world->park.lot, message->park_number, message->park_due_wall_us);
    else
        lot_remove(world->park.lot, message->park_number);
}

static size_t park_room(const struct world *world)
{
    size_t most = world->rules.buffer_messages / 2;

    if (engine_gate(world->engine)->state != GATE_CLOSED)
        return engine_askable(world->engine) && !engine_needs_witness(world->engine) ? 0 : 1;
    if (world->park.out >= most || world->park.out_bytes >= world->rules.buffer_bytes / 2)
        return 0;
    return most - world->park.out < TAKE_MOST ? most - world->park.out : TAKE_MOST;
}

static struct lane *park_lane(struct world *world, size_t number)
{
    struct lane **lane = &world->park.lanes[number];

    if (!*lane) {
        *lane = engine_lane_open(world->engine,
                                 &(struct sluice_lane){.name = world->lanes[number].name,
                                                       .source = "orders"},
                                 NULL);
        (*lane)->parked = true;
    }
    return *lane;
}

static void feed_row(struct world *world, const struct row *row)
{
    struct handle *handle = handle_new(world, row->item);
    size_t key = strlen(row->item->key);
    struct parked_story story = {.number = row->number,
                                 .attempts = row->attempts,
                                 .named = row->named,
                                 .first_failed_us = row->first_failed_us};
    struct sluice_message message = {.lane = park_lane(world, row->item->lane),
                                     .handle = handle,
                                     .position = row->item->position};

    if (row->kept)
        story.history = history_restore(0, row->history_count, row->history, row->kept,
                                        (struct sluice_bytes){NULL, 0});
    handle->number = row->number;
    handle->counted = row->counted;
    handle->other = row->other;
    handle->first_failed_us = row->first_failed_us;
    handle->parked_bytes = row->place.bytes;
    if (key)
        message.key = (struct sluice_bytes){handle->bytes, key};
    message.payload = (struct sluice_bytes){handle->bytes + key, row->item->size};
    if (row->has_token)
        story.token = (struct sluice_bytes){row->token, row->token_size};
    world->park.out++;
    world->park.out_bytes += row->place.bytes;
    engine_feed_parked(world->engine, &message, &story, world->now_us);
}

static void feed_parked(struct world *world)
{
    int64_t numbers[TAKE_MOST];
    size_t most = park_room(world), count, bytes = world->rules.buffer_bytes / 2;

    if (!most)
        return;
    bytes = bytes > world->park.out_bytes ? bytes - world->park.out_bytes : 1;
    count = lot_take(world->park.lot, world->now_us, most, bytes, numbers);
    for (size_t i = 0; i < count; i++) {
        struct row *row = row_of_number(world, numbers[i]);

        if (row)
            feed_row(world, row);
        else
            lot_remove(world->park.lot, numbers[i]);
    }
}

/* When feed_parked has something to do. */
static int64_t parked_due(const struct world *world)
{
    struct lot_state state;

    lot_state(world->park.lot, &state);
    return state.waits && park_room(world) ? state.due_wall_us : CLOCK_NEVER;
}

/* How many messages may be received. */
static size_t park_receives(const struct world *world)
{
    size_t most = world->rules.retry.park_bytes;
    struct lot_state state;

    lot_state(world->park.lot, &state);
    if (state.bytes <= most)
        return SIZE_MAX;
    return state.bytes / 2 <= most && engine_needs_witness(world->engine) ? 1 : 0;
}

/* ---- the end ---- */

static void drop_park_lanes(struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++)
        if (world->park.lanes[i])
            engine_lane_lost(world->engine, world->park.lanes[i]);
    memset(world->park.lanes, 0, sizeof world->park.lanes);
    assert_int_equal(world->park.out, 0);
}

static int by_number(const void *a, const void *b)
{
    const struct row *one = a, *other = b;

    return one->number < other->number ? -1 : one->number > other->number;
}

/* As a new process finds it. */
static void load_park(struct world *world)
{
    struct world_park *park = &world->park;

    lot_free(park->lot);
    park->lot = lot_new();
    if (park->row_count)
        qsort(park->rows, park->row_count, sizeof *park->rows, by_number);
    park->orphan_count = 0;
    for (size_t i = 0; i < park->row_count; i++) {
        struct lot_place place = park->rows[i].place;

        place.due_wall_us = 0;
        place.restored = true;
        /* Done before its source delivers it again, and then a crash: nothing tells. */
        park->rows[i].item->torn |= world->many > 0;
        /* One that was to be removed, and its message parked anew: either may be the first to end. */
        for (size_t j = 0; j < i; j++)
            park->rows[i].item->torn |= park->rows[j].item == park->rows[i].item;
        assert_true(lot_reserve(park->lot, &place, 0));
        lot_written(park->lot, place.number, park->rows[i].place.due_wall_us);
    }
}

static void free_park(struct world *world)
{
    lot_free(world->park.lot);
    free(world->park.rows);
    free(world->park.writing);
    free(world->park.orphans);
    free(world->park.unparked);
}

#endif
