/* SPDX-License-Identifier: MIT
 * Lanes that come, are drained, are torn away and come back: what lands late, and what was finished
 * before. */
#include "engine_stage.h"

static void lose(struct stage *stage, size_t number)
{
    engine_lane_lost(stage->engine, stage->lanes[number]);
    stage->lanes[number] = NULL;
}

/* The record of a lane as the next owner reads it. */
static struct positions record_of(const struct lane *lane)
{
    struct positions positions = {0};
    struct buffer value;

    buffer_init(&value, POSITIONS_BYTES_MOST);
    lane_record_write(lane, &value);
    assert_int_equal(positions_read(&positions, value.data, value.size), 0);
    buffer_fini(&value);
    return positions;
}

static void a_closing_lane_begins_nothing_and_is_drained_when_all_is_durable(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.batch.size = 2;
    stage->script = "H";
    stage->recorder_stands = true;
    stage_begin(stage, 2);
    stage_feed_many(stage, 0, 5);
    stage_feed_many(stage, 1, 1);
    stage_run(stage, 0);
    engine_lane_close(stage->engine, stage->lanes[0]);
    stage_run(stage, CLOCK_SECOND);
    assert_false(stage->drained[0]);
    stage_answer(stage, 'a', 'D');
    stage_run(stage, CLOCK_SECOND);
    assert_false(stage->drained[0]); /* done, but not durable */
    stage_record(stage);
    assert_true(stage->drained[0]);
    assert_string_equal(stage->log, "0:ab=H 0:f=D");
    assert_int_equal(stage->settled[0], 1);
    lose(stage, 0);
    assert_true(stage->players[2].released && stage->players[4].released);
    assert_int_equal(engine_unfinished(stage->engine), 0);
    stage_end(stage);
}

static void a_lane_without_work_is_drained_at_once(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.retry.backoff_first_us = stage->rules.retry.backoff_most_us = CLOCK_HOUR;
    stage->script = "F";
    stage_begin(stage, 2);
    stage_feed_many(stage, 0, 2); /* waits for its next try, in halves */
    stage_run(stage, 0);
    engine_lane_close(stage->engine, stage->lanes[0]);
    engine_lane_close(stage->engine, stage->lanes[1]);
    assert_true(stage->drained[0] && stage->drained[1]);
    stage_run(stage, CLOCK_DAY);
    assert_string_equal(stage->log, "0:ab=F");
    stage_end(stage);
}

static void what_lands_after_the_deadline_is_dropped(void **state)
{
    static const char answers[] = {'D', 'F', 'P', 'X', 'U', 'N'};

    for (size_t i = 0; i < sizeof answers; i++) {
        struct stage *stage = stage_new();

        stage->script = "H";
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 3)->bad = true;
        stage_run(stage, 0);
        engine_lane_close(stage->engine, stage->lanes[0]);
        lose(stage, 0); /* the deadline of the drain has passed */
        assert_true(stage->players[0].released);
        stage_open_lane(stage, 0, NULL);
        stage->positions[0] = 0;
        stage_feed_many(stage, 0, 3); /* d e f: the same, delivered again */
        stage_answer(stage, 'a', answers[i]);
        stage_run(stage, CLOCK_HOUR);
        /* Its answer settles nothing of the new lane and costs its messages nothing. */
        assert_string_equal(stage->log, "0:abc=H 0:def=D");
        assert_string_equal(stage_verdicts(stage) + 3, "DDD");
        assert_int_equal(stage->settled[0], 2);
        stage_end(stage);
    }
}

/* Nothing is known of one that failed beside a message that is gone. */
static void an_attempt_beside_a_lost_message_does_not_count(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->rules.retry.attempts = 1;
    stage->rules.retry.patience_us = 0;
    stage->script = "H";
    stage_begin(stage, 2);
    stage_feed_many(stage, 0, 1);
    stage_feed_many(stage, 1, 1);
    stage_run(stage, 0);
    lose(stage, 0);
    stage_answer(stage, 'b', 'F');
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:ab=H 0:b=D");
    assert_int_equal(stage_named(stage, 'b')->verdict, 'D');
    stage_end(stage);
}

static void suspects_and_retries_of_a_lost_lane_are_gone(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.batch.size = 1;
    stage->rules.retry.backoff_first_us = stage->rules.retry.backoff_most_us = CLOCK_SECOND;
    stage->rules.order = ORDER_NONE;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, CLOCK_MINUTE);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, 0);
    assert_int_equal(engine_suspects(stage->engine), 1);
    assert_int_equal(engine_waiting_retries(stage->engine), 1);
    lose(stage, 0);
    assert_int_equal(engine_suspects(stage->engine), 0);
    assert_int_equal(engine_unfinished(stage->engine), 0);
    stage->log[0] = 0;
    stage_run(stage, CLOCK_DAY);
    assert_string_equal(stage->log, "");
    assert_int_equal(engine_waiting_retries(stage->engine), 0);
    stage_end(stage);
}

/* What was done out of order is a duplicate for the next owner, what was not is delivered. */
static void the_record_survives_the_lane(void **state)
{
    struct stage *stage = stage_new();
    struct positions finished;

    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    stage->script = "HDHD";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 4);
    stage_run(stage, 0);
    finished = record_of(stage->lanes[0]);
    lose(stage, 0);
    stage_open_lane(stage, 0, &finished);
    stage->positions[0] = 0;
    stage->log[0] = 0;
    stage_feed_many(stage, 0, 5); /* e f g h are a b c d again */
    stage_run(stage, 0);
    assert_string_equal(stage->log, "0:e=D 0:g=D 0:i=D");
    assert_string_equal(stage_verdicts(stage) + 4, "D=D=D");
    assert_int_equal(stage->settled[0], 4);
    stage_answer(stage, 'a', 'F');
    stage_answer(stage, 'c', 'F');
    stage_end(stage);
}

/* A topic that was made anew, or a group rewound: nothing of the old record counts. */
static void a_record_is_void_where_the_source_begins_before_it(void **state)
{
    struct stage *stage = stage_new();
    struct positions finished;

    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 4);
    engine_lane_settled(stage->engine, stage->lanes[0], 2);
    stage_run(stage, 0);
    finished = record_of(stage->lanes[0]);
    assert_int_equal(finished.base, 2);
    lose(stage, 0);
    stage_open_lane(stage, 0, &finished);
    stage->positions[0] = 1;
    stage_feed_many(stage, 0, 3); /* positions 1 to 3 */
    stage_run(stage, 0);
    assert_string_equal(stage->log, "0:abcd=D 0:efg=D");
    stage_end(stage);
}

static void holes_in_positions_do_not_hold_settling_up(void **state)
{
    struct stage *stage = stage_new();

    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage->positions[0] = 1000;
    stage_feed_many(stage, 0, 1);
    stage_run(stage, 0);
    assert_int_equal(stage->settled[0], 1000);
    stage_end(stage);
}

static void a_source_may_settle_messages_one_by_one(void **state)
{
    struct stage *stage = stage_new();

    stage->by_message = true;
    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    stage->script = "HD";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, 0);
    assert_true(stage->players[1].settled);
    assert_false(stage->players[0].settled);
    stage_answer(stage, 'a', 'D');
    stage_run(stage, 0);
    assert_true(stage->players[0].settled);
    stage_end(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closing_lane_begins_nothing_and_is_drained_when_all_is_durable),
        cmocka_unit_test(a_lane_without_work_is_drained_at_once),
        cmocka_unit_test(what_lands_after_the_deadline_is_dropped),
        cmocka_unit_test(an_attempt_beside_a_lost_message_does_not_count),
        cmocka_unit_test(suspects_and_retries_of_a_lost_lane_are_gone),
        cmocka_unit_test(the_record_survives_the_lane),
        cmocka_unit_test(a_record_is_void_where_the_source_begins_before_it),
        cmocka_unit_test(holes_in_positions_do_not_hold_settling_up),
        cmocka_unit_test(a_source_may_settle_messages_one_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
