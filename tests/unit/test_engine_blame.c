/* SPDX-License-Identifier: MIT
 * Whose fault a failure is: suspects and witnesses, outages, pauses, and the order of what they held
 * up. */
#include "engine_stage.h"

/* One message an invocation, each of which takes a millisecond; retries have real delays. */
static struct stage *stage_single(void)
{
    struct stage *stage = stage_new();

    stage->rules.batch.size = 1;
    stage->takes_us = CLOCK_MS;
    return stage;
}

/* ---- poison ---- */

/* Whatever the answer, the batch size and the order: only the bad ones die, at no more than their
 * attempts and the one that decides. */
static void bad_messages_die_and_nothing_else(void **state)
{
    static const char answers[] = {'F', 'P', 'X'};
    static const uint32_t sizes[] = {1, 7, 100};
    static const char *const bads[] = {"c", "cd", "bcd", "cm", "a", "bcdefgh"};

    for (size_t row = 0; row < 3 * 3 * 6 * 3 * 2; row++) {
        struct stage *stage = stage_new();
        const char *bad = bads[row / 9 % 6];
        size_t lanes = row / 162 ? 4 : 1;

        stage->rules.order = (enum order)(row / 54 % 3);
        stage->rules.batch.size = sizes[row / 3 % 3];
        stage->takes_us = CLOCK_MS;
        stage->bad = answers[row % 3];
        stage_begin(stage, lanes);
        stage_feed_many(stage, 0, 1); /* the target was seen alive */
        stage_run(stage, CLOCK_SECOND);
        for (size_t i = 0; i < 23; i++) {
            struct player *player = stage_player(stage);

            player->bad = strchr(bad, 'a' + (int)i) != NULL;
            player->key[0] = (char)('0' + i % 5);
            stage_feed(stage, i % lanes, player);
        }
        stage_run(stage, CLOCK_SECOND);
        stage_feed_many(stage, 0, 1); /* a witness for what failed last */
        stage_run(stage, CLOCK_DAY);
        for (size_t i = 1; i < stage->player_count; i++) {
            struct player *player = &stage->players[i];

            if (player->verdict != (player->bad ? '+' : 'D'))
                fail_msg("row %zu, bad %s: %s: %s", row, bad, stage_verdicts(stage), stage->log);
        }
        assert_true(stage->bad == 'X' || !strchr(stage->events, 'O'));
        stage_end(stage);
    }
}

/* Also where the answers take long. */
static void bad_messages_side_by_side_cost_their_attempts(void **state)
{
    static const int64_t takes[] = {CLOCK_MS, 200 * CLOCK_MS, 30 * CLOCK_SECOND};

    for (size_t i = 0; i < 3; i++) {
        struct stage *stage = stage_single();

        stage->takes_us = takes[i];
        stage->rules.retry.patience_us = CLOCK_DAY;
        stage_begin(stage, 1);
        for (size_t j = 0; j < 3; j++)
            stage_feed_many(stage, 0, 1)->bad = true;
        stage_feed_many(stage, 0, 2);
        stage_run(stage, CLOCK_HOUR);
        assert_string_equal(stage_verdicts(stage), "+++DD");
        assert_int_equal(stage_named(stage, 'c')->invoked, 4);
        assert_true(stage_named(stage, 'b')->invoked <= 4 + 3);
        assert_true(stage_named(stage, 'a')->invoked <= 4 + 6);
        stage_end(stage);
    }
}

static void a_bad_message_alone_ends_with_patience(void **state)
{
    struct stage *stage = stage_single();

    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, CLOCK_HOUR);
    assert_int_equal(stage->players[0].class, DEAD_PATIENCE);
    assert_int_equal(stage->players[0].verdict_us - STAGE_BEGIN_US,
                     2 * CLOCK_MINUTE + 3 * CLOCK_MS); /* since its third failure landed */
    /* Meanwhile it is asked at growing intervals, so that an outage is noticed to have ended. */
    assert_string_equal(stage->log, "0:a=F 1:a=F 2:a=F 1003:a=F 3004:a=F 7005:a=F 15006:a=F "
                                    "31007:a=F 61008:a=F 91009:a=F");
    stage_end(stage);
}

/* It is refused no more, but answered: that the breaker is still open does not protect it. */
static void patience_runs_again_when_refusals_have_ended(void **state)
{
    struct stage *stage = stage_single();

    stage->outage = 'U';
    stage->outage_to_us = STAGE_BEGIN_US + 10 * CLOCK_MINUTE;
    stage->rules.retry.backoff_first_us = CLOCK_SECOND;
    stage->rules.retry.backoff_most_us = 30 * CLOCK_SECOND;
    stage->rules.retry.patience_us = CLOCK_SECOND; /* less than between two probes */
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, 10 * CLOCK_MINUTE);
    assert_int_equal(stage->players[0].verdict, '.');
    stage_run(stage, 10 * CLOCK_MINUTE);
    assert_int_equal(stage->players[0].class, DEAD_PATIENCE);
    stage_end(stage);
}

static void patience_doubles_up_to_an_hour_without_a_success(void **state)
{
    struct stage *stage = stage_single();
    int64_t patience_us = 2 * CLOCK_MINUTE, before_us = STAGE_BEGIN_US + 21 * CLOCK_MS;

    stage_begin(stage, 1);
    for (size_t i = 0; i < 7; i++) /* too few for an outage: eight */
        stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, CLOCK_DAY);
    for (size_t i = 0; i < 7; i++) {
        struct player *player = &stage->players[i];

        assert_int_equal(player->class, DEAD_PATIENCE);
        if (i)
            assert_int_equal(player->verdict_us - before_us, patience_us);
        before_us = player->verdict_us;
        patience_us = patience_us * 2 < CLOCK_HOUR ? patience_us * 2 : CLOCK_HOUR;
    }
    stage_end(stage);
}

static void a_suspect_that_succeeds_is_done(void **state)
{
    struct stage *stage = stage_single();

    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, 10 * CLOCK_SECOND);
    assert_int_equal(engine_suspects(stage->engine), 1);
    stage->players[0].bad = false;
    stage_run(stage, CLOCK_MINUTE);
    assert_string_equal(stage_verdicts(stage), "D");
    stage_end(stage);
}

/* ---- who may be a witness ---- */

/* A message of another lane or key is asked before one that would overtake the suspect. */
static void neighbours_are_asked_before_those_behind(void **state)
{
    static const struct {
        enum order order;
        const char *lanes, *keys, *wanted;
    } rows[] = {
        {ORDER_LANE, "001", "   ", "0:a=F 1:a=F 2:a=F 3:c=D 4:a=F 5:b=D"},
        {ORDER_KEY, "000", "xxy", "0:a=F 1:a=F 2:a=F 3:c=D 4:a=F 5:b=D"},
        {ORDER_KEY, "000", "xx ", "0:a=F 1:a=F 2:a=F 3:c=D 4:a=F 5:b=D"},
        {ORDER_LANE, "000", "   ", "0:a=F 1:a=F 2:a=F 3:b=D 4:a=F 5:c=D"},
        {ORDER_KEY, "000", "xxx", "0:a=F 1:a=F 2:a=F 3:b=D 4:a=F 5:c=D"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_single();

        stage->rules.order = rows[i].order;
        stage->rules.concurrency.most = 1;
        stage_begin(stage, 2);
        for (size_t j = 0; j < 3; j++) {
            struct player *player = stage_player(stage);

            player->key[0] = rows[i].keys[j] == ' ' ? 0 : rows[i].keys[j];
            player->bad = j == 0;
            stage_feed(stage, (size_t)(rows[i].lanes[j] - '0'), player);
            if (j == 1)
                stage_run(stage, 2500); /* c comes when a has failed twice */
        }
        stage_run(stage, CLOCK_SECOND);
        if (strcmp(stage->log, rows[i].wanted))
            fail_msg("row %zu: %s, wanted %s", i, stage->log, rows[i].wanted);
        assert_string_equal(stage_verdicts(stage), "+DD");
        stage_end(stage);
    }
}

/* An invocation that began after the suspect failed will tell: nothing overtakes meanwhile. One that
 * began before proves nothing. */
static void a_witness_in_flight_is_waited_for(void **state)
{
    struct stage *stage = stage_single();

    stage->rules.retry.attempts = 1;
    stage_begin(stage, 2);
    stage_feed_many(stage, 0, 3)->bad = true;
    stage_run(stage, 500); /* a is in flight */
    stage->script = "H";
    stage_feed_many(stage, 1, 1);
    stage_run(stage, 0); /* d began before a failed */
    stage_run(stage, CLOCK_MS);
    assert_string_equal(stage->log, "0:a=F 0:d=H 1:b=D");
    stage_run(stage, CLOCK_SECOND);
    stage_answer(stage, 'd', 'D');
    assert_string_equal(stage->log, "0:a=F 0:d=H 1:b=D 2:a=F 3:c=D");
    stage_end(stage);

    stage = stage_single();
    stage->rules.retry.attempts = 1;
    stage_begin(stage, 2);
    stage_feed_many(stage, 1, 2);
    stage_feed_many(stage, 0, 2)->bad = true;
    stage->script = "DFH";
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 0:c=F 1:b=H");
    stage_answer(stage, 'b', 'D');
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 0:c=F 1:b=H 1000:c=F 1001:d=D");
    stage_end(stage);
}

/* A witness goes only just after its suspects have failed once more. */
static void suspects_are_asked_again_before_each_witness(void **state)
{
    struct stage *stage = stage_single();

    stage->script = "FFFFFFF"; /* a thrice, b, a, b, a: then the target is well */
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 1:a=F 2:a=F 3:b=F 4:a=F 5:b=F 6:a=F 7:b=D 8:a=D 9:c=D");
    stage_end(stage);

    stage = stage_single();
    stage->script = "FFFFFF";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 1:a=F 2:a=F 3:b=F 4:a=F 5:b=F 6:a=D 7:b=D 8:c=D");
    stage_end(stage);
}

static void a_late_message_does_not_overtake_a_lonely_suspect(void **state)
{
    struct stage *stage = stage_single();

    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true;
    stage_run(stage, 20 * CLOCK_SECOND); /* asked at 15 s, next at 31 s */
    stage->players[0].bad = false;
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_SECOND);
    assert_non_null(strstr(stage->log, " 20000:a=D 20001:b=D"));
    stage_end(stage);
}

/* ---- outages ---- */

/* Whether any message was first done after one behind it in its lane. */
static bool was_overtaken(const struct stage *stage, size_t lanes)
{
    for (size_t i = 0; i + lanes < stage->player_count; i++)
        if (stage->players[i].verdict_us > stage->players[i + lanes].verdict_us)
            return true;
    return false;
}

/* However it answers, however long it lasts: all is done, in order, none given up. */
static void an_outage_of_any_kind_keeps_the_order(void **state)
{
    static const char answers[] = {'F', 'P', 'X', 'T', 'U', 'Z'};
    static const uint32_t sizes[] = {1, 10};

    for (size_t row = 0; row < 6 * 2 * 2 * 10; row++) {
        struct stage *stage = stage_new();
        size_t lanes = row / 12 % 2 ? 4 : 1;

        stage->rules.batch.size = sizes[row / 6 % 2];
        stage->rules.retry.attempts = 5;
        stage->rules.retry.backoff_first_us = 200 * CLOCK_MS;
        stage->rules.retry.backoff_most_us = 30 * CLOCK_SECOND;
        stage_begin(stage, lanes);
        for (size_t i = 0; i < 20; i++) /* before */
            stage_feed_many(stage, i % lanes, 1);
        stage_run(stage, CLOCK_SECOND);
        stage->outage = answers[row % 6];
        stage->outage_to_us = stage->now_us + CLOCK_SECOND + (int64_t)(row / 24) * 7654321;
        for (size_t i = 0; i < 40; i++) {
            stage_feed_many(stage, i % lanes, 1);
            stage_run(stage, 100 * CLOCK_MS);
        }
        stage_run(stage, CLOCK_HOUR);
        for (size_t i = 0; i < stage->player_count; i++)
            if (stage->players[i].verdict != 'D')
                fail_msg("row %zu: %s: %s", row, stage_verdicts(stage), stage->log);
        if (was_overtaken(stage, lanes))
            fail_msg("row %zu: overtaken: %s", row, stage->log);
        stage_end(stage);
    }
}

/* With attempts enough, random failures neither cost a message nor its place. */
static void random_failures_keep_the_order(void **state)
{
    static const uint32_t sizes[] = {1, 10};

    for (size_t row = 0; row < 40; row++) {
        struct stage *stage = stage_new();
        struct random dice = {row + 1};
        char script[2001] = "";

        for (size_t i = 0; i < 2000; i++)
            script[i] = random_up_to(&dice, 99) < 30 ? 'F' : 'D';
        stage->script = script;
        stage->rules.batch.size = sizes[row % 2];
        stage->rules.retry.attempts = 12;
        stage->takes_us = CLOCK_MS;
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 100);
        stage_run(stage, CLOCK_HOUR);
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(stage->players[i].verdict, 'D');
        assert_false(was_overtaken(stage, 1));
        assert_null(strchr(stage->events, 'O'));
        stage_end(stage);
    }
}

/* Only the first suspect is asked again, or most of the time would go by between two of its attempts. */
static void where_answers_take_long_the_first_suspect_speaks_for_all(void **state)
{
    struct stage *stage = stage_single();

    stage->rules.retry.attempts = 1;
    stage->rules.retry.patience_us = CLOCK_HOUR;
    stage->takes_us = 500 * CLOCK_MS;
    stage->outage = 'F';
    stage->outage_to_us = STAGE_BEGIN_US + 20 * CLOCK_SECOND;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, 15 * CLOCK_SECOND);
    stage_feed_many(stage, 0, 1); /* d comes late: a is asked just before it, b and c are not */
    stage_run(stage, CLOCK_MINUTE);
    assert_non_null(strstr(stage->log, " 15000:a=F 15500:d=F "));
    assert_string_equal(stage_verdicts(stage), "DDDD");
    assert_false(was_overtaken(stage, 1));
    stage_end(stage);
}

static void slow_probes_come_in_pairs_too(void **state)
{
    struct stage *stage = stage_single();

    stage->rules.retry.attempts = 1;
    stage->takes_us = 500 * CLOCK_MS;
    stage->retry_after_us = CLOCK_MINUTE;
    stage->outage = 'F';
    stage->outage_to_us = CLOCK_NEVER;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 10);
    stage_run(stage, 200 * CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 500:b=F 1000:c=F 1500:d=F 2000:e=F 2500:f=F 3000:g=F "
                                    "3500:h=F 64000:a=F 124500:a=F 125000:b=F 185500:a=F "
                                    "186000:c=F");
    stage_end(stage);
}

/* Answers that take longer than patience: each that fails is evidence against the target. */
static void a_hanging_target_costs_no_message(void **state)
{
    struct stage *stage = stage_single();

    stage->takes_us = 30 * CLOCK_SECOND;
    stage->rules.retry.attempts = 5;
    stage->outage = 'F';
    stage->outage_to_us = STAGE_BEGIN_US + 6 * CLOCK_HOUR;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 20);
    stage_run(stage, 8 * CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "DDDDDDDDDDDDDDDDDDDD");
    stage_end(stage);
}

static void eight_different_messages_find_the_target_guilty(void **state)
{
    struct stage *stage = stage_single();

    stage->rules.retry.attempts = 1;
    stage->retry_after_us = CLOCK_MINUTE;
    stage->outage = 'F';
    stage->outage_to_us = CLOCK_NEVER;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 20);
    stage_run(stage, 59 * CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 1:b=F 2:c=F 3:d=F 4:e=F 5:f=F 6:g=F 7:h=F");
    assert_int_equal(engine_gate(stage->engine)->state, GATE_FAILING);
    assert_int_equal(engine_suspects(stage->engine), 0); /* as if never tried */
    assert_string_equal(stage->events, "SSSSSSSO");
    /* Probes: the first alone, then just before one other each time. */
    stage_run(stage, 3 * CLOCK_MINUTE + 10 * CLOCK_SECOND);
    assert_string_equal(stage->log + strlen("0:a=F 1:b=F 2:c=F 3:d=F 4:e=F 5:f=F 6:g=F 7:h=F"),
                        " 60008:a=F 120009:a=F 120010:b=F 180011:a=F 180012:c=F 240013:a=F "
                        "240014:d=F");
    stage->outage = 0;
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "DDDDDDDDDDDDDDDDDDDD");
    assert_string_equal(stage->events + strlen(stage->events) - 1, "C");
    stage_end(stage);
}

/* When the target is found guilty, only attempts since the last success are forgotten. */
static void attempts_before_a_success_count_on(void **state)
{
    struct stage *stage = stage_single();

    stage->retry_after_us = 50 * CLOCK_SECOND;
    stage->script = "FDFXFFFFFF";
    stage_begin(stage, 2);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_SECOND);
    stage_feed_many(stage, 1, 1);
    stage_run(stage, 89 * CLOCK_SECOND);
    stage_feed_many(stage, 1, 1); /* the success is too long ago: a pause */
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 1000:b=D 50001:a=F 90000:c=X");
    while (!strchr(stage->events, 'S'))
        stage_run(stage, CLOCK_SECOND);
    assert_true(stage->players[0].suspected);
    assert_int_equal(stage->players[0].invoked, 4); /* that at 50 s is forgotten, that at 0 not */
    stage_end(stage);
}

/* However long the row of bad messages is, a target that lives is found to do so. */
static void no_row_of_bad_messages_hides_a_target_that_lives(void **state)
{
    static const char answers[] = {'F', 'P', 'X'};

    for (size_t row = 0; row < 6; row++) {
        struct stage *stage = stage_single();

        stage->rules.retry.backoff_first_us = 200 * CLOCK_MS;
        stage->rules.retry.backoff_most_us = 30 * CLOCK_SECOND;
        stage->bad = answers[row % 3];
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 1);
        stage_run(stage, CLOCK_SECOND);
        for (size_t i = 0; i < 12; i++)
            stage_feed_many(stage, 0, 1)->bad = true;
        stage_feed_many(stage, 0, 3);
        stage_run(stage, CLOCK_DAY);
        assert_string_equal(stage_verdicts(stage), "D++++++++++++DDD");
        stage_end(stage);
    }
}

/* ---- pauses ---- */

static void single_bad_answers_do_not_pause_a_target_that_lives(void **state)
{
    struct stage *stage = stage_single();

    stage->bad = 'X';
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, 30 * CLOCK_SECOND);
    stage_feed_many(stage, 0, 2)->bad = true;
    stage->players[2].bad = true;
    stage_feed_many(stage, 0, 2);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 30000:b=X 30001:c=X 30002:d=D 30003:b=X 30004:c=X "
                                    "30005:e=D");
    assert_string_equal(stage_verdicts(stage), "D++DD");
    assert_int_equal(stage->players[1].class, DEAD_POISON);
    stage_end(stage);
}

/* A probe that fails has a witness at once, not after the next interval. */
/* Without patience every failure counts, but missing credentials are no failure of a message. */
static void without_patience_a_fatal_answer_still_pauses(void **state)
{
    struct stage *stage = stage_single();

    stage->rules.retry.patience_us = 0;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_SECOND);
    stage->outage = 'X';
    stage->outage_to_us = stage->now_us + 6 * CLOCK_HOUR;
    stage_feed_many(stage, 0, 20);
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(engine_gate(stage->engine)->state, GATE_PAUSED);
    stage_run(stage, 7 * CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "DDDDDDDDDDDDDDDDDDDDD");
    stage_end(stage);
}

static void a_bad_message_before_a_paused_target_is_passed(void **state)
{
    struct stage *stage = stage_single();

    stage->bad = 'X';
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1)->bad = true; /* nothing succeeded before: a pause */
    stage_run(stage, CLOCK_SECOND);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, CLOCK_MINUTE);
    assert_string_equal(stage->log, "0:a=X 30001:a=X 30002:b=D 30003:a=X 30004:c=D");
    assert_string_equal(stage_verdicts(stage), "+DD");
    assert_string_equal(stage->events, "OSC+");
    stage_end(stage);
}

/* A full buffer of refused messages must not keep the one out that would prove the target alive. */
static void there_is_room_for_a_witness(void **state)
{
    static const char answers[] = {'F', 'P', 'X'};

    for (size_t row = 0; row < 9; row++) {
        struct stage *stage = stage_single();
        uint32_t count = 1 + (uint32_t)row / 3;

        stage->rules.buffer_messages = count;
        stage->rules.buffer_bytes = count;
        stage->bad = answers[row % 3];
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 1);
        stage_run(stage, CLOCK_SECOND);
        for (size_t i = 0; i < count; i++) {
            assert_true(engine_room(stage->engine).messages > 0);
            stage_feed_many(stage, 0, 1)->bad = true;
        }
        assert_int_equal(engine_room(stage->engine).messages, 0);
        stage_run(stage, 20 * CLOCK_SECOND);
        assert_int_equal(engine_room(stage->engine).messages, 1);
        stage_feed_many(stage, 0, 1);
        assert_int_equal(engine_room(stage->engine).messages, 0);
        stage_run(stage, 10 * CLOCK_MINUTE);
        assert_int_equal(stage->players[count + 1].verdict, 'D');
        for (size_t i = 1; i <= count; i++)
            assert_int_equal(stage->players[i].verdict, '+');
        stage_end(stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_messages_die_and_nothing_else),
        cmocka_unit_test(bad_messages_side_by_side_cost_their_attempts),
        cmocka_unit_test(a_bad_message_alone_ends_with_patience),
        cmocka_unit_test(patience_runs_again_when_refusals_have_ended),
        cmocka_unit_test(patience_doubles_up_to_an_hour_without_a_success),
        cmocka_unit_test(a_suspect_that_succeeds_is_done),
        cmocka_unit_test(neighbours_are_asked_before_those_behind),
        cmocka_unit_test(a_witness_in_flight_is_waited_for),
        cmocka_unit_test(suspects_are_asked_again_before_each_witness),
        cmocka_unit_test(a_late_message_does_not_overtake_a_lonely_suspect),
        cmocka_unit_test(an_outage_of_any_kind_keeps_the_order),
        cmocka_unit_test(random_failures_keep_the_order),
        cmocka_unit_test(where_answers_take_long_the_first_suspect_speaks_for_all),
        cmocka_unit_test(slow_probes_come_in_pairs_too),
        cmocka_unit_test(a_hanging_target_costs_no_message),
        cmocka_unit_test(eight_different_messages_find_the_target_guilty),
        cmocka_unit_test(attempts_before_a_success_count_on),
        cmocka_unit_test(no_row_of_bad_messages_hides_a_target_that_lives),
        cmocka_unit_test(single_bad_answers_do_not_pause_a_target_that_lives),
        cmocka_unit_test(without_patience_a_fatal_answer_still_pauses),
        cmocka_unit_test(a_bad_message_before_a_paused_target_is_passed),
        cmocka_unit_test(there_is_room_for_a_witness),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
