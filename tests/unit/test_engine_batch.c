/* SPDX-License-Identifier: MIT
 * When a batch closes and what may be in it; the three orders; what bounds memory and invocations. */
#include "engine_stage.h"

static void a_batch_closes_by_count(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.batch = (struct batch_settings){.size = 3, .bytes = 1000, .window_us = CLOCK_SECOND};
    stage->takes_us = 10 * CLOCK_MS;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 7);
    stage_run(stage, 999 * CLOCK_MS);
    assert_string_equal(stage->log, "0:abc=D 10:def=D");
    stage_run(stage, CLOCK_MS);
    assert_string_equal(stage->log, "0:abc=D 10:def=D 1000:g=D");
    assert_int_equal(engine_counts(stage->engine)->invocations, 3);
    stage_end(stage);
}

static void a_batch_closes_by_bytes(void **state)
{
    /* A row: payload sizes, and the batches that come of them with `bytes: 10`. */
    static const struct {
        const char *sizes;
        const char *wanted;
    } rows[] = {
        {"55", "0:ab=D"},                   /* exactly full */
        {"54", "100:ab=D"},                 /* not full: the window closes it */
        {"64", "0:ab=D"},
        {"66", "0:a=D 100:b=D"},            /* the next does not fit: it waits for the window */
        {"9999", "0:a=D 0:b=D 0:c=D 100:d=D"},
        {"1A1", "0:a=D 0:b=D 100:c=D"},     /* A: 20 bytes, more than any batch: goes alone */
        {"A", "0:a=D"},
        {"333332", "0:abc=D 100:def=D"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();

        stage->rules.batch =
            (struct batch_settings){.size = 100, .bytes = 10, .window_us = 100 * CLOCK_MS};
        stage_begin(stage, 1);
        for (const char *size = rows[i].sizes; *size; size++) {
            struct player *player = stage_player(stage);

            memset(player->payload, 'x', *size == 'A' ? 20 : (size_t)(*size - '0'));
            stage_feed(stage, 0, player);
        }
        stage_run(stage, CLOCK_SECOND);
        assert_string_equal(stage->log, rows[i].wanted);
        stage_end(stage);
    }
}

static void the_window_counts_from_the_oldest_message(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.batch.window_us = 200 * CLOCK_MS;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, 150 * CLOCK_MS);
    stage_feed_many(stage, 0, 1);
    assert_int_equal(stage_turn(stage), STAGE_BEGIN_US + 200 * CLOCK_MS);
    stage_run(stage, 40 * CLOCK_MS);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_SECOND);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "200:abc=D 1390:d=D");
    stage_end(stage);
}

static void without_a_window_nothing_waits(void **state)
{
    struct stage *stage = stage_new();

    stage->takes_us = 10 * CLOCK_MS;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_MS);
    stage_feed_many(stage, 0, 4); /* gather while the lane is busy */
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 10:bcde=D");
    stage_end(stage);
}

/* Two lanes; a d in lane 0 and b e in lane 1, with keys where the row gives them. */
static void each_order_mixes_what_it_may(void **state)
{
    static const struct {
        enum order order;
        uint32_t size, most;
        const char *keys;
        const char *wanted;
    } rows[] = {
        /* One batch of a lane at a time, lanes beside each other, never mixed. */
        {ORDER_LANE, 2, 32, "      ", "0:ac=D 0:bd=D 10:e=D 10:f=D"},
        {ORDER_LANE, 100, 32, "      ", "0:ace=D 0:bdf=D"},
        {ORDER_LANE, 1, 32, "xyxyxy", "0:a=D 0:b=D 10:c=D 10:d=D 20:e=D 20:f=D"},
        {ORDER_LANE, 1, 1, "      ", "0:a=D 10:b=D 20:c=D 30:d=D 40:e=D 50:f=D"},
        /* Keys beside each other, lanes mixed; a key of one lane one batch at a time. */
        {ORDER_KEY, 1, 32, "xxxxyy", "0:a=D 0:b=D 0:e=D 0:f=D 10:c=D 10:d=D"},
        {ORDER_KEY, 100, 32, "xyzuvw", "0:abcdef=D"},
        {ORDER_KEY, 2, 32, "xxxxxx", "0:ac=D 0:bd=D 10:e=D 10:f=D"},
        /* Without a key there is no order to keep. */
        {ORDER_KEY, 1, 32, "      ", "0:a=D 0:b=D 0:c=D 0:d=D 0:e=D 0:f=D"},
        {ORDER_NONE, 1, 32, "xxxxxx", "0:a=D 0:b=D 0:c=D 0:d=D 0:e=D 0:f=D"},
        {ORDER_NONE, 4, 32, "      ", "0:aceb=D 0:df=D"},
        {ORDER_NONE, 1, 4, "      ", "0:a=D 0:b=D 0:c=D 0:d=D 10:e=D 10:f=D"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();

        stage->rules.order = rows[i].order;
        stage->rules.batch.size = rows[i].size;
        stage->rules.concurrency.most = rows[i].most;
        stage->takes_us = 10 * CLOCK_MS;
        stage_begin(stage, 2);
        for (size_t j = 0; j < 6; j++) {
            struct player *player = stage_player(stage);

            player->key[0] = rows[i].keys[j] == ' ' ? 0 : rows[i].keys[j];
            stage_feed(stage, j % 2, player);
        }
        stage_run(stage, CLOCK_SECOND);
        if (strcmp(stage->log, rows[i].wanted))
            fail_msg("row %zu: %s, wanted %s", i, stage->log, rows[i].wanted);
        assert_string_equal(stage_verdicts(stage), "DDDDDD");
        stage_end(stage);
    }
}

/* However busy the others are: here one that is never empty, with one invocation at a time. */
static void each_lane_has_its_turn(void **state)
{
    for (enum order order = ORDER_LANE; order <= ORDER_NONE; order++) {
        struct stage *stage = stage_new();

        stage->rules.order = order;
        stage->rules.batch.size = 2;
        stage->rules.concurrency.most = 1;
        stage->takes_us = 10 * CLOCK_MS;
        stage_begin(stage, 2);
        stage_feed_many(stage, 0, 6);
        stage_feed_many(stage, 1, 2);
        for (int i = 0; i < 5; i++) {
            stage_run(stage, 10 * CLOCK_MS);
            stage_feed_many(stage, 0, 2);
        }
        assert_int_equal(stage_named(stage, 'g')->verdict, 'D');
        assert_int_equal(stage_named(stage, 'h')->verdict, 'D');
        stage_run(stage, CLOCK_SECOND);
        stage_end(stage);
    }
}

static void what_waits_longest_goes_first(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.batch.size = 1;
    stage->rules.concurrency.most = 1;
    stage->takes_us = 10 * CLOCK_MS;
    stage_begin(stage, 2);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, CLOCK_MS);
    stage_feed_many(stage, 1, 1);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 10:b=D 20:c=D");
    stage_end(stage);
}

static void a_key_is_one_strand_in_each_lane(void **state)
{
    struct stage *stage = stage_new();
    char key = 'x';

    stage->rules.order = ORDER_KEY;
    stage->rules.batch.size = 1;
    stage->takes_us = 10 * CLOCK_MS;
    stage_begin(stage, 2);
    for (size_t i = 0; i < 2; i++) {
        struct player *player = stage_player(stage);

        player->key[0] = key;
        stage_feed(stage, i, player);
    }
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 0:b=D");
    stage_end(stage);
}

static void settling_never_overtakes(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    stage->script = "HHH";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 4);
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(stage->settled[0], -1); /* d is done, a b c hang */
    stage_answer(stage, 'b', 'D');
    stage_run(stage, 0);
    assert_int_equal(stage->settled[0], -1);
    stage_answer(stage, 'a', 'D');
    stage_run(stage, 0);
    assert_int_equal(stage->settled[0], 1);
    stage_answer(stage, 'c', 'D');
    stage_run(stage, 0);
    assert_int_equal(stage->settled[0], 3);
    stage_end(stage);
}

static void what_is_in_flight_is_bounded(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    stage->rules.concurrency = (struct concurrency_settings){.least = 1, .most = 5};
    stage->script = "HHHHHHH";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 7);
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(stage->flight_count, 5);
    stage_answer(stage, 'c', 'D');
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(stage->flight_count, 5);
    stage_answer(stage, 'a', 'D');
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=H 0:b=H 0:c=H 0:d=H 0:e=H 1000:f=H 2000:g=H");
    for (const char *name = "bdefg"; *name; name++)
        stage_answer(stage, *name, 'D');
    stage_run(stage, 0);
    assert_string_equal(stage_verdicts(stage), "DDDDDDD");
    stage_end(stage);
}

static void the_buffer_is_bounded_by_messages_and_bytes(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.buffer_messages = 5;
    stage->rules.buffer_bytes = 10;
    stage->recorder_stands = true;
    stage_begin(stage, 1);
    assert_int_equal(engine_room(stage->engine).messages, 5);
    assert_int_equal(engine_room(stage->engine).bytes, 10);
    stage_feed_many(stage, 0, 3);
    assert_int_equal(engine_room(stage->engine).messages, 2);
    assert_int_equal(engine_room(stage->engine).bytes, 7);
    stage_feed_many(stage, 0, 2);
    assert_int_equal(engine_room(stage->engine).messages, 0);
    assert_int_equal(engine_room(stage->engine).bytes, 0);
    /* Done but not durable: the payloads are gone, and other messages may be worked on. */
    stage_run(stage, CLOCK_SECOND);
    assert_true(stage->players[0].released);
    assert_int_equal(engine_room(stage->engine).messages, 5);
    assert_int_equal(engine_room(stage->engine).bytes, 10);
    /* Up to a bound: four buffers in all. */
    for (int i = 0; i < 3; i++) {
        stage_feed_many(stage, 0, 5);
        stage_run(stage, 0);
    }
    assert_int_equal(engine_unfinished(stage->engine), 20);
    assert_int_equal(engine_unjudged(stage->engine), 0);
    assert_int_equal(engine_room(stage->engine).messages, 0);
    stage_record(stage);
    assert_int_equal(engine_room(stage->engine).messages, 5);
    assert_int_equal(stage->settled[0], 19);
    stage_end(stage);
}

static void bytes_alone_close_the_room(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.buffer_bytes = 3;
    stage->script = "H";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, 0);
    assert_int_equal(engine_room(stage->engine).messages, 0);
    assert_int_equal(engine_room(stage->engine).bytes, 0);
    stage_answer(stage, 'a', 'D');
    assert_int_equal(engine_room(stage->engine).bytes, 3);
    stage_end(stage);
}

static void a_lane_waits_at_its_distance(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    stage->rules.distance = 4;
    stage->script = "H";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, 0);
    assert_false(stage->paused[0]);
    stage_feed_many(stage, 0, 1); /* a hangs, b c d are done: four from oldest to newest */
    assert_true(stage->paused[0]);
    stage_run(stage, CLOCK_SECOND);
    assert_true(stage->paused[0]);
    stage_answer(stage, 'a', 'D');
    stage_run(stage, 0);
    assert_false(stage->paused[0]);
    assert_int_equal(stage->settled[0], 3);
    stage_end(stage);
}

static void a_busy_lane_leaves_room_to_the_others(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.buffer_messages = 40;
    stage->rules.batch.size = 5;
    stage->script = "HH";
    stage_begin(stage, 2);
    stage_feed_many(stage, 1, 1);
    stage_feed_many(stage, 0, 19);
    stage_run(stage, 0);
    assert_false(stage->paused[0]);
    stage_feed_many(stage, 0, 9);
    assert_false(stage->paused[0]); /* most of what is there, but there is room */
    stage_feed_many(stage, 0, 1);
    assert_true(stage->paused[0]); /* a quarter of the room is for the other */
    assert_false(stage->paused[1]);
    stage_answer(stage, 'a', 'D');
    stage_answer(stage, 'b', 'D');
    stage_run(stage, 0);
    assert_false(stage->paused[0]);
    assert_string_equal(stage_verdicts(stage), "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDD");
    stage_end(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_closes_by_count),
        cmocka_unit_test(a_batch_closes_by_bytes),
        cmocka_unit_test(the_window_counts_from_the_oldest_message),
        cmocka_unit_test(without_a_window_nothing_waits),
        cmocka_unit_test(each_order_mixes_what_it_may),
        cmocka_unit_test(each_lane_has_its_turn),
        cmocka_unit_test(what_waits_longest_goes_first),
        cmocka_unit_test(a_key_is_one_strand_in_each_lane),
        cmocka_unit_test(settling_never_overtakes),
        cmocka_unit_test(what_is_in_flight_is_bounded),
        cmocka_unit_test(the_buffer_is_bounded_by_messages_and_bytes),
        cmocka_unit_test(bytes_alone_close_the_room),
        cmocka_unit_test(a_lane_waits_at_its_distance),
        cmocka_unit_test(a_busy_lane_leaves_room_to_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
