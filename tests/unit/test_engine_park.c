/* SPDX-License-Identifier: MIT
 * What leaves for the park and what does not, how it comes back, and its order. */
#include "engine_stage.h"

/* ---- a park ---- */

struct spot {
    struct player *player;
    int64_t due_us;
    bool written, out, gone;
    uint32_t attempts;
    struct history *history;
    int64_t first_failed_us;
};

static struct spot spots[64];
static size_t spot_count, room;
static struct lane *park_lane;
static char told[256]; /* `a60` parked for 60 s, `b` behind it, `~a` not after all */

static void tell(const char *format, ...)
{
    size_t at = strlen(told);
    va_list list;

    va_start(list, format);
    vsnprintf(told + at, sizeof told - at, format, list);
    va_end(list);
}

static bool park(void *argument, struct message *message, int64_t delay_us, bool follows)
{
    struct stage *stage = argument;
    struct player *player = player_of(message);
    size_t used = 0;

    for (size_t i = 0; i < spot_count; i++)
        used += !spots[i].gone;
    if (!message->park_number && used >= room && !follows)
        return false;
    if (follows)
        tell("%s%c", told[0] ? " " : "", player->name);
    else
        tell("%s%c%lld", told[0] ? " " : "", player->name, (long long)(delay_us / CLOCK_SECOND));
    if (!message->park_number) {
        spots[spot_count++] = (struct spot){.player = player};
        message->park_number = (int64_t)spot_count;
    }
    message->park_due_wall_us = follows ? 0 : stage->now_us + delay_us;
    return true;
}

static struct spot *spot_of(const struct message *message)
{
    return &spots[message->park_number - 1];
}

/* Queues are keys. */
static enum park_answer parked(void *argument, const struct message *message)
{
    const struct player *player = player_of(message);

    for (size_t i = 0; i < spot_count; i++)
        if (!spots[i].gone && spots[i].written && spots[i].player->token[0] &&
            !strcmp(spots[i].player->token, player->token))
            return PARK_HAS_IT;
    for (size_t i = 0; i < spot_count; i++)
        if (!spots[i].gone && player->key[0] && !strcmp(spots[i].player->key, player->key))
            return PARK_HAS_EARLIER;
    return PARK_HAS_NOTHING;
}

static void park_begins(void *argument, const struct message *message)
{
    assert_false(spot_of(message)->written);
    spot_of(message)->written = true;
    spot_of(message)->due_us = message->park_due_wall_us;
}

static void unpark(void *argument, struct message *message, bool written)
{
    if (message->from_park)
        return;
    spot_of(message)->gone = true;
    tell(" ~%c", player_of(message)->name);
}

static void release_parked(void *argument, void *handle)
{
    struct player *player = handle;

    assert_false(player->released);
    player->released = true;
}

static void settle(void *argument, struct lane *lane, const struct message *message,
                   uint64_t position)
{
    struct spot *spot;

    if (!message || !message->from_park) {
        stage_settle(argument, lane, message, position);
        return;
    }
    spot = spot_of(message);
    assert_true(spot->out);
    spot->out = false;
    if (message->verdict == VERDICT_PARKED)
        spot->due_us = message->park_due_wall_us;
    else
        spot->gone = true;
}

static void pause_lane(void *argument, struct lane *lane, bool paused)
{
    if (!lane->parked)
        stage_pause_lane(argument, lane, paused);
}

static void drained(void *argument, struct lane *lane)
{
    if (!lane->parked)
        stage_drained(argument, lane);
}

/* A story is kept as it is told to the row. */
static void record(struct stage *stage)
{
    struct message_list list = {0};

    engine_take_parked(stage->engine, 1000, SIZE_MAX, &list);
    for (const struct message *m = list.first; m; m = m->next) {
        struct spot *spot = spot_of(m);

        spot->attempts = m->attempts;
        spot->first_failed_us = m->first_failed_us;
        if (m->history && m->history->kept) {
            const struct history *history = m->history;
            struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS];

            for (uint32_t i = 0; i < history->kept; i++)
                attempts[i] = history->attempts[i]->record;
            if (spot->history) {
                struct message old = {.history = spot->history, .token = NULL};

                message_fini(&old);
            }
            spot->history = history_restore(history->first_wall_us, history->count, attempts,
                                            history->kept, (struct sluice_bytes){NULL, 0});
        }
    }
    engine_parked(stage->engine, &list);
}

static bool is_first(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (!spots[i].gone && spots[at].player->key[0] &&
            !strcmp(spots[i].player->key, spots[at].player->key))
            return false;
    return true;
}

static int64_t feed(struct stage *stage)
{
    int64_t at_us = CLOCK_NEVER;

    for (size_t i = 0; i < spot_count; i++) {
        struct spot *spot = &spots[i];
        struct player *player = spot->player;
        char token[8] = {player->name, 0}, *own = player->token;
        struct sluice_message message = {.handle = player, .payload = {player->payload, 1}};
        struct parked_story story = {.number = (int64_t)i + 1,
                                     .token = {token, strlen(token)},
                                     .attempts = spot->attempts,
                                     .history = spot->history,
                                     .first_failed_us = spot->first_failed_us};

        if (*own)
            story.token = (struct sluice_bytes){own, strlen(own)};
        if (spot->gone || spot->out || !spot->written || !is_first(i))
            continue;
        if (spot->due_us > stage->now_us) {
            at_us = spot->due_us < at_us ? spot->due_us : at_us;
            continue;
        }
        if (!park_lane) {
            park_lane = engine_lane_open(stage->engine,
                                         &(struct sluice_lane){.name = "orders/0",
                                                               .source = "orders"},
                                         NULL);
            park_lane->parked = true;
        }
        message.lane = park_lane;
        if (player->key[0])
            message.key = (struct sluice_bytes){player->key, strlen(player->key)};
        spot->out = true;
        spot->history = NULL;
        player->released = false;
        at_us = stage->now_us;
        engine_feed_parked(stage->engine, &message, &story, stage->now_us);
    }
    return at_us;
}

/* Messages that fail wait for 1 to 100 h before their second try, 1 min is long. */
static struct stage *park_stage(void)
{
    struct stage *stage = stage_new();

    memset(spots, 0, sizeof spots);
    spot_count = 0;
    room = 64;
    park_lane = NULL;
    told[0] = 0;
    stage->ops.park = park;
    stage->ops.parked = parked;
    stage->ops.park_begins = park_begins;
    stage->ops.unpark = unpark;
    stage->ops.release_parked = release_parked;
    stage->ops.settle = settle;
    stage->ops.pause_lane = pause_lane;
    stage->ops.lane_drained = drained;
    stage->park_record = record;
    stage->park_feed = feed;
    stage->retry_after_us = 2 * CLOCK_HOUR;
    stage->rules.retry.park_after_us = CLOCK_MINUTE;
    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    return stage;
}

static void park_end(struct stage *stage)
{
    if (park_lane)
        engine_lane_lost(stage->engine, park_lane);
    stage_end(stage);
    for (size_t i = 0; i < spot_count; i++) {
        struct message old = {.history = spots[i].history};

        message_fini(&old);
    }
}

/* ---- tests ---- */

static void a_long_retry_is_parked_and_settled(void **state)
{
    struct stage *stage = park_stage();

    stage->script = "F";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(told, "a7200");
    assert_string_equal(stage_verdicts(stage), "pD");
    assert_int_equal(stage->settled[0], 1); /* past it */
    assert_int_equal(engine_unfinished(stage->engine), 0);
    stage_run(stage, 2 * CLOCK_HOUR);
    assert_string_equal(stage->log, "0:a=F 0:b=D 7200000:a=D");
    assert_string_equal(stage_verdicts(stage), "DD");
    assert_true(spots[0].gone);
    assert_int_equal(engine_counts(stage->engine)->parked, 1);
    assert_int_equal(engine_counts(stage->engine)->received, 2);
    park_end(stage);
}

static void a_short_retry_stays(void **state)
{
    struct stage *stage = park_stage();

    stage->script = "F";
    stage->retry_after_us = CLOCK_MINUTE;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(stage->log, "0:a=F 60000:a=D");
    assert_string_equal(told, "");
    park_end(stage);
}

static void with_order_lane_the_lane_waits(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.order = ORDER_LANE;
    stage->script = "F";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_string_equal(stage->log, "0:a=F 7200000:a=D 7200000:b=D");
    assert_string_equal(told, "");
    park_end(stage);
}

static void it_can_be_switched_off(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.retry.park_after_us = 0;
    stage->script = "F";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_string_equal(stage->log, "0:a=F 7200000:a=D");
    assert_string_equal(told, "");
    park_end(stage);
}

/* Its attempts are counted over all of its stays. */
static void its_story_goes_on(void **state)
{
    struct stage *stage = park_stage();

    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, 5 * CLOCK_HOUR);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_HOUR);
    /* Its third failure is its last; a success since the second, hours ago, would have been no witness. */
    assert_string_equal(stage->log, "0:a=F 7200000:a=F 14400000:a=F 14401000:a=F 14403000:a=F "
                                    "14407000:a=F 14415000:a=F 14431000:a=F 14461000:a=F "
                                    "14491000:a=F 18000000:b=D");
    assert_string_equal(told, "a7200 a7200");
    assert_string_equal(stage_verdicts(stage), "+D");
    assert_int_equal(stage->players[0].class, DEAD_PATIENCE);
    park_end(stage);
}

/* An outage that begins while it is away is not its fault. */
static void what_comes_back_into_an_outage_is_not_given_up(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.retry.attempts = 2;
    stage->script = "FD";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(told, "a7200");
    stage->outage = 'F';
    stage->outage_to_us = stage->now_us + 8 * CLOCK_HOUR;
    stage->retry_after_us = 0;
    stage->rules.retry.backoff_most_us = 10 * CLOCK_SECOND;
    stage->rules.retry.backoff_first_us = CLOCK_SECOND;
    stage_feed_many(stage, 0, 20);
    stage_run(stage, 12 * CLOCK_HOUR);
    for (size_t i = 0; i < stage->player_count; i++)
        assert_int_equal(stage->players[i].verdict, 'D');
    park_end(stage);
}

/* The target's own fault parks nobody: refusals, and failures while it is doubted. */
static void an_outage_parks_nobody(void **state)
{
    static const char outages[] = "UTX";

    for (const char *outage = outages; *outage; outage++) {
        struct stage *stage = park_stage();

        stage->outage = *outage;
        stage->outage_to_us = stage->now_us + 10 * CLOCK_HOUR;
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 50);
        stage_run(stage, 20 * CLOCK_HOUR);
        assert_string_equal(told, "");
        for (size_t i = 0; i < 50; i++)
            assert_int_equal(stage->players[i].verdict, 'D');
        park_end(stage);
    }
}

/* Where each failure asks for hours, those that fail before the target is found guilty are few. */
static void a_failing_target_parks_few(void **state)
{
    struct stage *stage = park_stage();

    stage->outage = 'F';
    stage->outage_to_us = stage->now_us + CLOCK_HOUR;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 60);
    stage_run(stage, 20 * CLOCK_HOUR);
    assert_int_equal(spot_count, 7);
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(stage->players[i].verdict, 'D');
    park_end(stage);
}

static void named_ones_are_parked_together(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.batch.size = 10;
    stage->script = "ND";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 0);
    for (int i = 0; i < 4; i++) {
        struct player *player = stage_player(stage);

        player->bad = i % 2;
        stage_feed(stage, 0, player);
    }
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(told, "b7200 d7200");
    assert_string_equal(stage_verdicts(stage), "DpDp");
    stage->players[1].bad = stage->players[3].bad = false;
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_string_equal(stage->log, "0:abcd=N 7200000:bd=D");
    park_end(stage);
}

/* ---- order: key ---- */

static struct player *feed_key(struct stage *stage, const char *key)
{
    struct player *player = stage_player(stage);

    snprintf(player->key, sizeof player->key, "%s", key);
    return stage_feed(stage, 0, player);
}

static void later_ones_of_its_key_queue_behind_it(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.order = ORDER_KEY;
    stage->script = "FDDFD";
    stage_begin(stage, 1);
    feed_key(stage, "x");
    feed_key(stage, "y");
    feed_key(stage, "x");
    feed_key(stage, "y");
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(told, "a7200 c");
    assert_string_equal(stage_verdicts(stage), "pDpD");
    feed_key(stage, "x"); /* e */
    feed_key(stage, "z"); /* f */
    assert_string_equal(told, "a7200 c e");
    stage_run(stage, 7200 * CLOCK_SECOND);
    /* It failed again, and they with it: f was F, so it is away as well. */
    assert_string_equal(told, "a7200 c e f7200");
    stage_run(stage, 2 * CLOCK_HOUR);
    assert_string_equal(stage->log, "0:a=F 0:b=D 0:d=D 1000:f=F 7200000:a=D 7200000:c=D "
                                    "7200000:e=D 7201000:f=D");
    assert_string_equal(stage_verdicts(stage), "DDDDDD");
    feed_key(stage, "x");
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(spot_count, 4); /* nothing of its key is parked any more */
    assert_int_equal(stage->players[6].verdict, 'D');
    park_end(stage);
}

/* In one batch, split, with others behind it in the halves and in the strand. */
static void what_is_behind_it_in_its_batch_goes_with_it(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.order = ORDER_KEY;
    stage->rules.batch.size = 4;
    stage_begin(stage, 1);
    feed_key(stage, "x");
    feed_key(stage, "x")->bad = true; /* b */
    feed_key(stage, "y");
    feed_key(stage, "x"); /* d */
    stage_turn(stage);
    feed_key(stage, "x"); /* e, behind the batch */
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(told, "b7200 d e");
    assert_string_equal(stage_verdicts(stage), "DpDpp");
    stage->players[1].bad = false;
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "DDDDD");
    assert_true(stage->players[1].verdict_us <= stage->players[3].verdict_us);
    assert_true(stage->players[3].verdict_us <= stage->players[4].verdict_us);
    park_end(stage);
}

static void one_that_waits_for_a_claim_goes_with_it(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.order = ORDER_KEY;
    stage->rules.token = (struct token_settings){.source = TOKEN_MESSAGE_ID};
    stage->rules.batch.size = 2;
    stage->script = "HHFD";
    stage_begin(stage, 2);
    for (int i = 0; i < 3; i++) {
        struct player *player = stage_player(stage);

        snprintf(player->key, sizeof player->key, "x");
        snprintf(player->token, sizeof player->token, i ? "t" : "other");
        snprintf(player->payload, sizeof player->payload, i ? "t" : "a");
        stage_feed(stage, i ? 0 : 1, player);
    }
    stage_turn(stage);
    stage_answer(stage, 'b', 'F');
    stage_run(stage, CLOCK_SECOND);
    stage_answer(stage, 'a', 'D');
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "DD=");
    park_end(stage);
}

/* ---- what may go wrong ---- */

static void where_there_is_no_room_it_waits_as_ever(void **state)
{
    struct stage *stage = park_stage();

    room = 1;
    stage->script = "FF";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(told, "a7200");
    assert_string_equal(stage_verdicts(stage), "p.D");
    assert_int_equal(stage->settled[0], 0);
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "DDD");
    park_end(stage);
}

static void one_whose_lane_is_lost_meanwhile_comes_again(void **state)
{
    struct stage *stage = park_stage();
    struct message_list list = {0};

    stage->script = "FF";
    stage->recorder_stands = true;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2);
    stage_turn(stage);
    engine_take_parked(stage->engine, 1, SIZE_MAX, &list); /* a is at the recorder, b not yet */
    engine_lane_lost(stage->engine, stage->lanes[0]);
    stage->lanes[0] = NULL;
    engine_parked(stage->engine, &list);
    engine_take_parked(stage->engine, 10, SIZE_MAX, &list);
    assert_int_equal(list.count, 0);
    assert_string_equal(told, "a7200 b7200 ~a ~b");
    assert_true(spots[0].gone && spots[1].gone);
    park_end(stage);
}

static void a_copy_from_the_source_is_a_duplicate(void **state)
{
    struct stage *stage = park_stage();
    struct player *copy;

    stage->rules.token = (struct token_settings){.source = TOKEN_MESSAGE_ID};
    stage->by_message = true;
    stage->script = "F";
    stage_begin(stage, 1);
    snprintf(stage_player(stage)->token, 8, "t");
    stage_feed(stage, 0, &stage->players[0]);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(told, "a7200");
    copy = stage_player(stage);
    snprintf(copy->token, 8, "t");
    stage_feed(stage, 0, copy);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage_verdicts(stage), "p=");
    assert_true(copy->settled);
    park_end(stage);
}

static void its_age_counts_on(void **state)
{
    struct stage *stage = park_stage();

    stage->rules.retry.age_us = 3 * CLOCK_HOUR;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, 4 * CLOCK_HOUR);
    /* The second stay ends where its age does. */
    assert_string_equal(told, "a7200 a3600");
    assert_string_equal(stage->log, "0:a=F 7200000:a=F");
    assert_string_equal(stage_verdicts(stage), "+");
    assert_int_equal(stage->players[0].class, DEAD_AGE);
    park_end(stage);
}

/* Queues that drop what was delivered too often: parked at the first failure here. */
static void one_delivered_often_is_parked_however_short_its_wait(void **state)
{
    struct stage *stage = park_stage();
    struct sluice_message message;

    stage->retry_after_us = 0;
    stage->script = "F";
    stage->rules.retry.attempts = 50;
    stage_begin(stage, 1);
    message = (struct sluice_message){.lane = stage->lanes[0],
                                      .handle = stage_player(stage),
                                      .payload = {"a", 1},
                                      .delivery_count = 10};
    engine_feed(stage->engine, &message, 1, stage->now_us);
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(told, "a0");
    assert_string_equal(stage_verdicts(stage), "D");
    assert_int_equal(stage->players[0].invoked, 2);
    park_end(stage);
}

/* What is out of the park when its lane goes (a stop) stays in it. */
static void what_is_out_stays_parked(void **state)
{
    struct stage *stage = park_stage();

    stage->script = "FH";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, 2 * CLOCK_HOUR);
    assert_true(spots[0].out);
    engine_lane_lost(stage->engine, park_lane);
    park_lane = NULL;
    assert_true(stage->players[0].released);
    assert_false(spots[0].gone);
    spots[0].out = false;
    park_end(stage);
}

/* The park's lanes have no part of the buffer: the only lane of the source fills it. */
static void its_lanes_pause_no_other(void **state)
{
    struct stage *stage = park_stage();

    stage->script = "FDHHHHHHHHHH";
    stage->rules.buffer_messages = 10;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, 3 * CLOCK_HOUR);
    assert_non_null(park_lane);
    assert_string_equal(stage_verdicts(stage), "D");
    stage_feed_many(stage, 0, 10);
    assert_int_equal(engine_room(stage->engine).messages, 0);
    assert_false(stage->paused[0]);
    park_end(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_retry_is_parked_and_settled),
        cmocka_unit_test(a_short_retry_stays),
        cmocka_unit_test(with_order_lane_the_lane_waits),
        cmocka_unit_test(it_can_be_switched_off),
        cmocka_unit_test(its_story_goes_on),
        cmocka_unit_test(what_comes_back_into_an_outage_is_not_given_up),
        cmocka_unit_test(an_outage_parks_nobody),
        cmocka_unit_test(a_failing_target_parks_few),
        cmocka_unit_test(named_ones_are_parked_together),
        cmocka_unit_test(later_ones_of_its_key_queue_behind_it),
        cmocka_unit_test(what_is_behind_it_in_its_batch_goes_with_it),
        cmocka_unit_test(one_that_waits_for_a_claim_goes_with_it),
        cmocka_unit_test(where_there_is_no_room_it_waits_as_ever),
        cmocka_unit_test(one_whose_lane_is_lost_meanwhile_comes_again),
        cmocka_unit_test(a_copy_from_the_source_is_a_duplicate),
        cmocka_unit_test(its_age_counts_on),
        cmocka_unit_test(one_delivered_often_is_parked_however_short_its_wait),
        cmocka_unit_test(what_is_out_stays_parked),
        cmocka_unit_test(its_lanes_pause_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
