/* SPDX-License-Identifier: MIT
 * What an answer costs and when the next try comes: attempts, delays, splits, partial responses,
 * classes of outcome, age, the circuit breaker, pauses. */
#include "core/retry.h"

#include "engine_stage.h"

/* A bad message and a good one behind it, one by one in a single lane. */
static void a_bad_message_has_its_attempts_and_one_to_decide(void **state)
{
    static const char *const wanted[] = {
        "0:a=F 0:b=D 0:a=F", "0:a=F 0:a=F 0:b=D 0:a=F", "0:a=F 0:a=F 0:a=F 0:b=D 0:a=F",
        "0:a=F 0:a=F 0:a=F 0:a=F 0:b=D 0:a=F"};

    for (uint32_t attempts = 1; attempts <= 4; attempts++) {
        struct stage *stage = stage_new();

        stage->rules.batch.size = 1;
        stage->rules.retry.attempts = attempts;
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 2)->bad = true;
        stage_run(stage, CLOCK_SECOND);
        assert_string_equal(stage->log, wanted[attempts - 1]);
        assert_string_equal(stage_verdicts(stage), "+D");
        assert_int_equal(stage->players[0].class, DEAD_ATTEMPTS);
        assert_string_equal(stage->events, "S+");
        assert_int_equal(stage->settled[0], 1);
        stage_end(stage);
    }
}

static void without_patience_every_failure_counts(void **state)
{
    for (uint32_t attempts = 1; attempts <= 4; attempts++) {
        struct stage *stage = stage_new();

        stage->rules.batch.size = 1;
        stage->rules.retry.attempts = attempts;
        stage->rules.retry.patience_us = 0;
        stage->outage = 'F';
        stage->outage_to_us = CLOCK_NEVER;
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 20);
        stage_run(stage, CLOCK_SECOND);
        for (size_t i = 0; i < 20; i++) {
            assert_int_equal(stage->players[i].invoked, attempts);
            assert_int_equal(stage->players[i].verdict, '+');
            assert_int_equal(stage->players[i].class, DEAD_ATTEMPTS);
        }
        assert_string_equal(stage->events, "++++++++++++++++++++");
        stage_end(stage);
    }
}

static void a_poison_answer_leaves_one_attempt_to_decide(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.batch.size = 1;
    stage->bad = 'P';
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2)->bad = true;
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=P 0:b=D 0:a=P");
    assert_string_equal(stage_verdicts(stage), "+D");
    assert_int_equal(stage->players[0].class, DEAD_POISON);
    stage_end(stage);
}

/* A day of retries. */
static void delays_grow_with_full_jitter(void **state)
{
    struct stage *stage = stage_new();
    struct random mirror = {STAGE_SEED};
    char wanted[16384] = "0:a=F";
    int64_t at_us = 0;

    stage->rules.retry.attempts = 1000;
    stage->rules.retry.backoff_first_us = 200 * CLOCK_MS;
    stage->rules.retry.backoff_most_us = CLOCK_HOUR;
    stage->outage = 'F';
    stage->outage_to_us = CLOCK_NEVER;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    for (uint32_t failures = 1; at_us < CLOCK_DAY; failures++) {
        int64_t delay_us = retry_delay(200 * CLOCK_MS, CLOCK_HOUR, failures, 0, &mirror);

        assert_true(failures > 15 || delay_us <= (200 * CLOCK_MS) << (failures - 1));
        at_us += delay_us;
        if (at_us <= CLOCK_DAY)
            sprintf(wanted + strlen(wanted), " %lld:a=F", (long long)(at_us / CLOCK_MS));
    }
    stage_run(stage, CLOCK_DAY);
    assert_string_equal(stage->log, wanted);
    stage->outage = 0;
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(stage_verdicts(stage), "D");
    stage_end(stage);
}

static void retry_after_is_a_floor(void **state)
{
    static const char answers[] = {'F', 'T', 'U'};

    for (size_t i = 0; i < sizeof answers; i++) {
        struct stage *stage = stage_new();
        char wanted[64];

        stage->rules.retry.backoff_first_us = 200 * CLOCK_MS;
        stage->rules.retry.backoff_most_us = CLOCK_SECOND;
        stage->retry_after_us = 5 * CLOCK_SECOND;
        stage->script = (char[]){answers[i], answers[i], 0};
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 1);
        stage_run(stage, CLOCK_MINUTE);
        sprintf(wanted, "0:a=%c 5000:a=%c 10000:a=D", answers[i], answers[i]);
        assert_string_equal(stage->log, wanted);
        stage_end(stage);
    }
}

/* A throttling target asks all invocations to wait, a failing one that of the message only. */
static void retry_after_of_a_throttled_target_is_for_all(void **state)
{
    static const struct {
        char answer;
        const char *wanted;
    } rows[] = {{'T', "0:a=T 5000:a=D 5000:b=D"}, {'U', "0:a=U 5000:a=D 5000:b=D"},
                {'F', "0:a=F 0:b=D 5000:a=D"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();

        stage->rules.batch.size = 1;
        stage->retry_after_us = 5 * CLOCK_SECOND;
        stage->script = (char[]){rows[i].answer, 0};
        stage_begin(stage, 2);
        stage_feed_many(stage, 0, 1);
        stage_run(stage, 0);
        stage_feed_many(stage, 1, 1);
        stage_run(stage, CLOCK_MINUTE);
        assert_string_equal(stage->log, rows[i].wanted);
        stage_end(stage);
    }
}

/* What one answer of each kind costs a message that has one attempt, without patience. */
static void each_class_costs_what_it_should(void **state)
{
    static const struct {
        uint32_t status; /* 0: no answer, with the class that the edge gives it */
        enum outcome_class class;
        const char *wanted;
        char verdict;
    } rows[] = {
        {400, OUTCOME_POISON, "0:a", '+'},          {422, OUTCOME_POISON, "0:a", '+'},
        {413, OUTCOME_POISON, "0:a", '+'},          {302, OUTCOME_POISON, "0:a", '+'},
        {408, OUTCOME_FAILED, "0:a", '+'},          {409, OUTCOME_FAILED, "0:a", '+'},
        {500, OUTCOME_FAILED, "0:a", '+'},          {501, OUTCOME_FAILED, "0:a", '+'},
        {0, OUTCOME_FAILED, "0:a", '+'}, /* no answer in time */
        {401, OUTCOME_FATAL, "0:a 30000:a", 'D'},   {403, OUTCOME_FATAL, "0:a 30000:a", 'D'},
        {404, OUTCOME_FATAL, "0:a 30000:a", 'D'},   {410, OUTCOME_FATAL, "0:a 30000:a", 'D'},
        {429, OUTCOME_THROTTLED, "0:a 0:a", 'D'},   {502, OUTCOME_UNAVAILABLE, "0:a 0:a", 'D'},
        {503, OUTCOME_UNAVAILABLE, "0:a 0:a", 'D'}, {504, OUTCOME_UNAVAILABLE, "0:a 0:a", 'D'},
        {0, OUTCOME_UNAVAILABLE, "0:a 0:a", 'D'}, /* refused */
    };
    static const char letters[] = {'D', 'F', 'T', 'U', 'P', 'X'};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        char wanted[64] = "";

        if (rows[i].status)
            assert_int_equal(outcome_of_status(rows[i].status), rows[i].class);
        stage->rules.retry.attempts = 1;
        stage->rules.retry.patience_us = 0;
        stage->script = (char[]){letters[rows[i].class], 0};
        stage_begin(stage, 1);
        stage_feed_many(stage, 0, 1);
        stage_run(stage, CLOCK_HOUR);
        for (const char *at = rows[i].wanted; *at; at++)
            sprintf(wanted + strlen(wanted), "%c%s", *at,
                    *at != 'a' ? "" : at == rows[i].wanted + 2 ? (char[]){'=', letters[rows[i].class], 0}
                                                             : "=D");
        assert_string_equal(stage->log, wanted);
        assert_int_equal(stage->players[0].verdict, rows[i].verdict);
        stage_end(stage);
    }
}

/* ---- splitting ---- */

static void a_failing_batch_is_halved_until_the_bad_message_is_alone(void **state)
{
    struct stage *stage = stage_new();

    stage->takes_us = CLOCK_MS;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 8);
    stage_named(stage, 'c')->bad = true;
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:abcdefgh=F 1:abcd=F 2:ab=D 3:cd=F 4:c=F 5:c=F 6:c=F 7:d=D "
                                    "8:c=F 9:efgh=D");
    assert_string_equal(stage_verdicts(stage), "DD+DDDDD");
    /* Three attempts and the one that decides; the batches before cost none. */
    assert_int_equal(engine_counts(stage->engine)->dead, 1);
    stage_end(stage);
}

static void with_parallel_work_halves_go_beside_each_other(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->takes_us = 10 * CLOCK_MS;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 4);
    stage_named(stage, 'd')->bad = true;
    stage_run(stage, CLOCK_SECOND);
    /* ab succeeds while cd fails: the success at 20 ms proves d guilty as soon as it is used up. */
    assert_string_equal(stage->log,
                        "0:abcd=F 10:cd=F 10:ab=D 20:d=F 20:c=D 30:d=F 40:d=F");
    assert_string_equal(stage_verdicts(stage), "DDD+");
    stage_end(stage);
}

/* A back-off of hours is a message's own; who only shared its batch is through in seconds. */
static void halves_wait_a_second_at_most(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->rules.retry.backoff_first_us = stage->rules.retry.backoff_most_us = CLOCK_HOUR;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 8);
    stage_named(stage, 'c')->bad = true;
    stage_run(stage, 3 * CLOCK_SECOND);
    assert_string_equal(stage_verdicts(stage), "DD.DDDDD");
    stage_end(stage);
}

static void a_split_costs_no_attempt(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.retry.attempts = 2;
    stage->script = "FFF"; /* abcd, ab, and a once: then the target is well */
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 4);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:abcd=F 0:ab=F 0:a=F 0:a=D 0:b=D 0:cd=D");
    assert_string_equal(stage_verdicts(stage), "DDDD");
    assert_string_equal(stage->events, "");
    stage_end(stage);
}

static void without_split_a_batch_is_tried_as_a_whole(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.retry.split = false;
    stage->rules.retry.attempts = 3;
    stage->script = "FF";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:abc=F 0:abc=F 0:abc=D");
    stage_end(stage);
}

/* ---- partial responses ---- */

static void named_messages_are_tried_again_alone_until_used_up(void **state)
{
    struct stage *stage = stage_new();

    stage->bad = 'N';
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 5);
    stage_named(stage, 'b')->bad = stage_named(stage, 'd')->bad = true;
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:abcde=N 0:bd=N 0:bd=N");
    assert_string_equal(stage_verdicts(stage), "D+D+D");
    assert_int_equal(stage->players[1].class, DEAD_NAMED);
    assert_int_equal(engine_counts(stage->engine)->named, 6);
    assert_int_equal(stage->settled[0], 4);
    stage_end(stage);
}

static void a_named_message_may_succeed_later(void **state)
{
    struct stage *stage = stage_new();

    stage->script = "NND";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3)->bad = true;
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:abc=N 0:a=N 0:a=D");
    assert_string_equal(stage_verdicts(stage), "DDD");
    stage_end(stage);
}

/* It says as little as a plain error. */
static void all_named_counts_as_a_failure(void **state)
{
    struct stage *stage = stage_new();

    stage->script = "ZZF";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 2);
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:ab=Z 0:a=Z 0:a=F 0:a=D 0:b=D");
    assert_int_equal(engine_counts(stage->engine)->named, 0);
    stage_end(stage);
}

/* ---- age ---- */

static void age_counts_from_the_first_failure(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.retry.age_us = 10 * CLOCK_SECOND;
    stage->rules.retry.attempts = 1000;
    stage->rules.batch.window_us = CLOCK_MINUTE;
    stage->outage = 'F';
    stage->outage_to_us = CLOCK_NEVER;
    stage->retry_after_us = 3 * CLOCK_SECOND;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(stage->log, "60000:a=F 63000:a=F 66000:a=F 69000:a=F");
    assert_string_equal(stage_verdicts(stage), "+");
    assert_int_equal(stage->players[0].class, DEAD_AGE);
    assert_int_equal(stage->players[0].verdict_us - STAGE_BEGIN_US, 70 * CLOCK_SECOND);
    stage_end(stage);
}

/* Wherever the message is when its age ends: the others wait on. */
static void age_ends_a_message_wherever_it_is(void **state)
{
    /* a fails at 0 as the row says; b is fed at 5 s. */
    static const struct {
        char answer;
        int64_t retry_after_us;
        const char *verdicts; /* at 10 s */
    } rows[] = {
        {'F', CLOCK_HOUR, "+D"}, {'T', CLOCK_HOUR, "+."}, {'U', CLOCK_HOUR, "+."},
        {'X', 0, "+."},          {'P', 0, "+D"},          {'F', 0, "+D"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();

        stage->rules.retry.age_us = 10 * CLOCK_SECOND;
        stage->rules.retry.attempts = rows[i].retry_after_us ? 3 : 1;
        stage->rules.batch.size = 1;
        stage->retry_after_us = rows[i].retry_after_us;
        stage->script = (char[]){rows[i].answer, 0};
        stage->bad = rows[i].answer;
        stage_begin(stage, 2);
        stage_feed_many(stage, 0, 1)->bad = true;
        stage_run(stage, 5 * CLOCK_SECOND);
        if (!strchr("PF", rows[i].answer) || rows[i].retry_after_us)
            stage_feed_many(stage, 1, 1);
        stage_run(stage, 5 * CLOCK_SECOND - 1);
        assert_int_equal(stage->players[0].verdict, '.');
        stage_run(stage, 1);
        if (stage->player_count == 2)
            assert_string_equal(stage_verdicts(stage), rows[i].verdicts);
        assert_int_equal(stage->players[0].verdict, '+');
        assert_int_equal(stage->players[0].class, DEAD_AGE);
        stage_end(stage);
    }
}

/* Also behind another half of its batch that hangs. */
static void age_ends_a_message_whose_turn_does_not_come(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.retry.age_us = 10 * CLOCK_SECOND;
    stage->script = "FH";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, 10 * CLOCK_SECOND - 1);
    assert_string_equal(stage->log, "0:abc=F 0:ab=H");
    assert_string_equal(stage_verdicts(stage), "...");
    stage_run(stage, 1);
    assert_string_equal(stage_verdicts(stage), "..+");
    stage_answer(stage, 'a', 'D'); /* what is in flight may still succeed */
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage_verdicts(stage), "DD+");
    stage_end(stage);
}

/* ---- the circuit breaker ---- */

static void three_refusals_open_the_breaker(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.order = ORDER_NONE;
    stage->rules.batch.size = 1;
    stage->rules.concurrency = (struct concurrency_settings){.least = 1, .most = 2};
    stage->rules.retry.attempts = 1;
    stage->retry_after_us = CLOCK_SECOND; /* above all jitter: exact times */
    stage->takes_us = 10 * CLOCK_MS;
    stage->outage = 'U';
    stage->outage_to_us = STAGE_BEGIN_US + 3 * CLOCK_SECOND;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 6);
    stage_run(stage, 1005 * CLOCK_MS);
    assert_int_equal(engine_gate(stage->engine)->state, GATE_CLOSED);
    stage_run(stage, 2 * CLOCK_SECOND);
    assert_int_equal(engine_gate(stage->engine)->state, GATE_UNAVAILABLE);
    assert_string_equal(stage->events, "O");
    stage_run(stage, CLOCK_MINUTE);
    /* Half open: single probes. Closed: from the least concurrency on. */
    assert_string_equal(stage->log, "0:a=U 0:b=U 1010:a=U 2020:c=U 3030:d=D "
                                    "3040:b=D 3050:a=D 3050:c=D 3060:e=D 3060:f=D");
    assert_string_equal(stage->events, "OC");
    assert_string_equal(stage_verdicts(stage), "DDDDDD");
    stage_end(stage);
}

/* Days of it cost no attempt and no message. */
static void an_unavailable_target_costs_nothing(void **state)
{
    struct stage *stage = stage_new();

    stage->rules.retry.attempts = 1;
    stage->rules.retry.backoff_first_us = 200 * CLOCK_MS;
    stage->rules.retry.backoff_most_us = 10 * CLOCK_MINUTE;
    stage->outage = 'U';
    stage->outage_to_us = STAGE_BEGIN_US + CLOCK_DAY;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 3);
    stage_run(stage, CLOCK_DAY);
    assert_string_equal(stage_verdicts(stage), "...");
    assert_true(engine_counts(stage->engine)->invocations < 300);
    stage_run(stage, 10 * CLOCK_MINUTE);
    assert_string_equal(stage_verdicts(stage), "DDD");
    assert_int_equal(engine_counts(stage->engine)->retried,
                     3 * (engine_counts(stage->engine)->invocations - 1));
    stage_end(stage);
}

/* ---- pauses ---- */

static void a_fatal_answer_pauses_and_probes_at_growing_intervals(void **state)
{
    struct stage *stage = stage_new();

    stage->outage = 'X';
    stage->outage_to_us = STAGE_BEGIN_US + 20 * CLOCK_MINUTE;
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_HOUR);
    assert_string_equal(stage->log, "0:a=X 30000:a=X 90000:a=X 210000:a=X 450000:a=X 930000:a=X "
                                    "1530000:a=D");
    assert_string_equal(stage->events, "OC");
    assert_string_equal(stage_verdicts(stage), "D");
    stage_end(stage);
}

static void a_person_may_end_the_pause(void **state)
{
    struct stage *stage = stage_new();

    stage->script = "X";
    stage_begin(stage, 1);
    stage_feed_many(stage, 0, 1);
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(engine_gate(stage->engine)->state, GATE_PAUSED);
    engine_resume(stage->engine);
    stage_run(stage, 0);
    assert_string_equal(stage->log, "0:a=X 1000:a=D");
    stage_end(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_message_has_its_attempts_and_one_to_decide),
        cmocka_unit_test(without_patience_every_failure_counts),
        cmocka_unit_test(a_poison_answer_leaves_one_attempt_to_decide),
        cmocka_unit_test(delays_grow_with_full_jitter),
        cmocka_unit_test(retry_after_is_a_floor),
        cmocka_unit_test(retry_after_of_a_throttled_target_is_for_all),
        cmocka_unit_test(each_class_costs_what_it_should),
        cmocka_unit_test(a_failing_batch_is_halved_until_the_bad_message_is_alone),
        cmocka_unit_test(with_parallel_work_halves_go_beside_each_other),
        cmocka_unit_test(halves_wait_a_second_at_most),
        cmocka_unit_test(a_split_costs_no_attempt),
        cmocka_unit_test(without_split_a_batch_is_tried_as_a_whole),
        cmocka_unit_test(named_messages_are_tried_again_alone_until_used_up),
        cmocka_unit_test(a_named_message_may_succeed_later),
        cmocka_unit_test(all_named_counts_as_a_failure),
        cmocka_unit_test(age_counts_from_the_first_failure),
        cmocka_unit_test(age_ends_a_message_wherever_it_is),
        cmocka_unit_test(age_ends_a_message_whose_turn_does_not_come),
        cmocka_unit_test(three_refusals_open_the_breaker),
        cmocka_unit_test(an_unavailable_target_costs_nothing),
        cmocka_unit_test(a_fatal_answer_pauses_and_probes_at_growing_intervals),
        cmocka_unit_test(a_person_may_end_the_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
