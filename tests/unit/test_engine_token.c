/* SPDX-License-Identifier: MIT
 * What comes before the batch: the filter, and one invocation for each token. */
#include "engine_stage.h"

static struct stage *stage_with_tokens(void)
{
    struct stage *stage = stage_new();

    stage->rules.token.source = TOKEN_MESSAGE_ID;
    stage->rules.batch.size = 1;
    stage->takes_us = CLOCK_MS;
    return stage;
}

static struct player *feed_token(struct stage *stage, size_t lane, const char *token,
                                 const char *payload)
{
    struct player *player = stage_player(stage);

    strcpy(player->token, token);
    strcpy(player->payload, payload);
    return stage_feed(stage, lane, player);
}

/* ---- tokens ---- */

static void a_recorded_token_is_not_invoked_again(void **state)
{
    struct stage *stage = stage_with_tokens();

    stage_begin(stage, 2);
    feed_token(stage, 0, "t", "one");
    stage_run(stage, CLOCK_SECOND);
    feed_token(stage, 0, "t", "one");
    feed_token(stage, 1, "t", "one");
    feed_token(stage, 1, "u", "one");
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=D 1000:d=D");
    assert_string_equal(stage_verdicts(stage), "D==D");
    assert_string_equal(stage->events, "==");
    assert_int_equal(engine_counts(stage->engine)->duplicates, 2);
    assert_int_equal(stage->settled[0], 1);
    assert_int_equal(stage->settled[1], 1);
    stage_end(stage);
}

/* Until it is durable: what came of the first is not known before. */
static void a_copy_in_flight_is_waited_for(void **state)
{
    static const enum order orders[] = {ORDER_LANE, ORDER_NONE};

    for (size_t i = 0; i < 2; i++) {
        struct stage *stage = stage_with_tokens();

        stage->rules.order = orders[i];
        stage->recorder_stands = true;
        stage->script = "H";
        stage_begin(stage, 2);
        feed_token(stage, 0, "t", "one");
        feed_token(stage, 1, "t", "one");
        feed_token(stage, 1, "u", "one");
        stage_run(stage, CLOCK_SECOND);
        /* In an ordered lane those behind the copy wait with it. */
        assert_string_equal(stage->log, orders[i] == ORDER_NONE ? "0:a=H 0:c=D" : "0:a=H");
        stage_answer(stage, 'a', 'D');
        stage_run(stage, CLOCK_SECOND);
        assert_int_equal(stage_named(stage, 'b')->verdict, '.');
        stage->recorder_stands = false;
        stage_run(stage, CLOCK_SECOND);
        assert_string_equal(stage_verdicts(stage), "D=D");
        assert_int_equal(stage_named(stage, 'b')->invoked, 0);
        stage_end(stage);
    }
}

static void a_copy_goes_when_the_first_was_given_up(void **state)
{
    struct stage *stage = stage_with_tokens();

    stage->rules.retry.patience_us = 0;
    stage->script = "FFF";
    stage_begin(stage, 2);
    feed_token(stage, 0, "t", "one");
    feed_token(stage, 1, "t", "one");
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 1:a=F 2:a=F 3:b=D");
    assert_string_equal(stage_verdicts(stage), "+D");
    stage_end(stage);
}

/* A suspect is not in flight: its copy may be the only witness there is. */
static void a_copy_may_be_the_witness(void **state)
{
    struct stage *stage = stage_with_tokens();

    stage->script = "FFF";
    stage_begin(stage, 1);
    feed_token(stage, 0, "t", "one")->bad = true;
    feed_token(stage, 0, "t", "one");
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:a=F 1:a=F 2:a=F 3:b=D");
    assert_string_equal(stage_verdicts(stage), "=D");
    stage_end(stage);
}

static void a_token_for_another_payload_is_a_conflict(void **state)
{
    static const struct {
        enum token_conflict rule;
        const char *log, *verdicts;
    } rows[] = {
        {TOKEN_CONFLICT_DEAD_LETTER, "0:a=D 1000:c=D", "D+D"},
        {TOKEN_CONFLICT_INVOKE, "0:a=D 1000:b=D 1001:c=D", "DDD"},
        {TOKEN_CONFLICT_DROP, "0:a=D 1000:c=D", "D=D"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_with_tokens();

        stage->rules.token.on_conflict = rows[i].rule;
        stage_begin(stage, 1);
        feed_token(stage, 0, "t", "one");
        stage_run(stage, CLOCK_SECOND);
        feed_token(stage, 0, "t", "two");
        feed_token(stage, 0, "u", "two");
        stage_run(stage, CLOCK_SECOND);
        assert_string_equal(stage->log, rows[i].log);
        assert_string_equal(stage_verdicts(stage), rows[i].verdicts);
        if (rows[i].rule == TOKEN_CONFLICT_DEAD_LETTER) {
            assert_int_equal(stage->players[1].class, DEAD_TOKEN_CONFLICT);
            assert_non_null(strstr(stage->players[1].reason, "another payload"));
        }
        assert_int_equal(stage->settled[0], 2);
        stage_end(stage);
    }
}

static void a_missing_token(void **state)
{
    static const struct {
        enum token_missing rule;
        const char *log, *verdicts;
    } rows[] = {
        {TOKEN_MISSING_DEAD_LETTER, "0:b=D", "+D"},
        {TOKEN_MISSING_POSITION, "0:a=D 1:b=D", "DD"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_with_tokens();

        stage->rules.token.on_missing = rows[i].rule;
        stage_begin(stage, 1);
        feed_token(stage, 0, "", "one");
        feed_token(stage, 0, "t", "one");
        stage_run(stage, CLOCK_SECOND);
        assert_string_equal(stage->log, rows[i].log);
        assert_string_equal(stage_verdicts(stage), rows[i].verdicts);
        if (rows[i].rule == TOKEN_MISSING_DEAD_LETTER) {
            assert_int_equal(stage->players[0].class, DEAD_TOKEN_MISSING);
            assert_string_equal(stage->players[0].reason, "the message has no message id");
        }
        stage_end(stage);
    }
}

static void a_dead_letter_holds_back_its_position_until_it_is_written(void **state)
{
    struct stage *stage = stage_with_tokens();

    stage->recorder_stands = true;
    stage_begin(stage, 1);
    feed_token(stage, 0, "", "one");
    feed_token(stage, 0, "t", "one");
    stage_run(stage, CLOCK_SECOND);
    assert_int_equal(stage->settled[0], -1);
    assert_false(stage->players[0].released); /* its payload is needed for the letter */
    {
        struct message_list finished = {0};

        engine_take_finished(stage->engine, &finished);
        assert_int_equal(finished.count, 1);
        engine_durable(stage->engine, &finished);
    }
    assert_int_equal(stage->settled[0], -1);
    stage_record(stage);
    assert_int_equal(stage->settled[0], 1);
    stage_end(stage);
}

/* ---- the filter ---- */

static void filtered_messages_are_settled_and_not_invoked(void **state)
{
    struct stage *stage = stage_new();

    stage->ops.filter = stage_filter;
    stage->script = "H";
    stage_begin(stage, 1);
    feed_token(stage, 0, "", "one");
    feed_token(stage, 0, "", "-two");
    feed_token(stage, 0, "", "+three");
    feed_token(stage, 0, "", "four");
    feed_token(stage, 0, "", "-five");
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:ad=H");
    assert_string_equal(stage_verdicts(stage), ".-+.-");
    assert_int_equal(stage->settled[0], -1); /* in their order, after a */
    stage_answer(stage, 'a', 'D');
    stage_run(stage, 0);
    assert_string_equal(stage_verdicts(stage), "D-+D-");
    assert_int_equal(stage->settled[0], 4);
    assert_int_equal(stage->players[2].class, DEAD_FILTERED);
    assert_string_equal(stage->players[2].reason, "it is not JSON");
    assert_int_equal(engine_counts(stage->engine)->filtered, 3);
    assert_int_equal(engine_counts(stage->engine)->received, 5);
    assert_int_equal(engine_counts(stage->engine)->done, 2);
    stage_end(stage);
}

static void filtered_messages_claim_no_token(void **state)
{
    struct stage *stage = stage_with_tokens();

    stage->rules.token.on_missing = TOKEN_MISSING_DEAD_LETTER;
    stage->ops.filter = stage_filter;
    stage_begin(stage, 1);
    feed_token(stage, 0, "t", "-one");
    feed_token(stage, 0, "", "-two"); /* nor must they have one */
    feed_token(stage, 0, "t", "three");
    feed_token(stage, 0, "t", "+four"); /* no duplicate either: the filter comes first */
    stage_run(stage, CLOCK_SECOND);
    assert_string_equal(stage->log, "0:c=D");
    assert_string_equal(stage_verdicts(stage), "--D+");
    assert_int_equal(stage->token_count, 1);
    stage_end(stage);
}

static void filtered_messages_are_no_witnesses(void **state)
{
    struct stage *stage = stage_new();

    stage->ops.filter = stage_filter;
    stage_begin(stage, 1);
    feed_token(stage, 0, "", "one")->bad = true;
    feed_token(stage, 0, "", "-two");
    stage_run(stage, CLOCK_MINUTE);
    assert_string_equal(stage_verdicts(stage), ".-");
    assert_int_equal(engine_suspects(stage->engine), 1);
    stage_end(stage);
}

static void room_comes_back_when_all_was_filtered(void **state)
{
    struct stage *stage = stage_new();

    stage->ops.filter = stage_filter;
    stage->rules.buffer_messages = 3;
    stage_begin(stage, 1);
    for (int i = 0; i < 12; i++)
        feed_token(stage, 0, "", "-");
    assert_int_equal(engine_room(stage->engine).messages, 0);
    stage_run(stage, 0);
    assert_int_equal(engine_room(stage->engine).messages, 3);
    assert_int_equal(stage->settled[0], 11);
    stage_end(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recorded_token_is_not_invoked_again),
        cmocka_unit_test(a_copy_in_flight_is_waited_for),
        cmocka_unit_test(a_copy_goes_when_the_first_was_given_up),
        cmocka_unit_test(a_copy_may_be_the_witness),
        cmocka_unit_test(a_token_for_another_payload_is_a_conflict),
        cmocka_unit_test(a_missing_token),
        cmocka_unit_test(a_dead_letter_holds_back_its_position_until_it_is_written),
        cmocka_unit_test(filtered_messages_are_settled_and_not_invoked),
        cmocka_unit_test(filtered_messages_claim_no_token),
        cmocka_unit_test(filtered_messages_are_no_witnesses),
        cmocka_unit_test(room_comes_back_when_all_was_filtered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
