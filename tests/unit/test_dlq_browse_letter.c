/* SPDX-License-Identifier: MIT */
#include "cli/dlq_browse_letter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

#define BYTES(text) {text, sizeof(text) - 1}
#define HEADER(name, value) {BYTES(name), BYTES(value)}
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct sluice_lane lane = {.name = "dead/1", .source = "dead", .partition = 1};

static const struct sluice_header story[] = {
    HEADER("own", "kept"),
    HEADER("sluice-id", "01KAS7M3Q2ABCDEFGHJKMNPQRS"),
    HEADER("sluice-mapping", "orders"),
    HEADER("sluice-class", "poison"),
    HEADER("sluice-error", "400: bad"),
    HEADER("sluice-status", "400"),
    HEADER("sluice-attempts", "2"),
    HEADER("sluice-token", "t\0t"),
    HEADER("sluice-source", "orders"),
    HEADER("sluice-partition", "3"),
    HEADER("sluice-position", "42"),
    HEADER("sluice-last-failure", "2026-01-31T08:00:00.000Z"),
};

static const struct sluice_message message = {
    .position = 7,
    .key = BYTES("k"),
    .payload = BYTES("{\"n\": 3}"),
    .timestamp_ms = INT64_C(1800000000000),
    .timestamp_kind = SLUICE_TIMESTAMP_CREATED,
};

static void a_letter_of_sluice(void **state)
{
    struct browse_letter letter;
    const struct dead_letter *read = &letter.letter;
    json_t *json;

    (void)state;
    browse_letter_read(&letter, &lane, &message, story, COUNT(story));
    assert_string_equal(read->id, "01KAS7M3Q2ABCDEFGHJKMNPQRS");
    assert_string_equal(read->mapping, "orders");
    assert_string_equal(read->lane, "orders/3");
    assert_string_equal(read->source, "orders");
    assert_int_equal(read->position, 42);
    assert_int_equal(read->class, DEAD_POISON);
    assert_int_equal(read->token_size, 3);
    assert_int_equal(read->header_count, 1);
    assert_true(read->dead_wall_us == INT64_C(1769846400) * CLOCK_SECOND);
    assert_string_equal(letter.lane, "dead/1");
    assert_int_equal(letter.position, 7);
    json = browse_letter_json(&letter, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "payload")), "{\"n\": 3}");
    assert_null(json_object_get(json, "replay_count")); /* nobody can tell */
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "place"), "position")), 7);
    json_decref(json);
    browse_letter_fini(&letter);
}

static void a_message_that_tells_nothing(void **state)
{
    struct browse_letter letter;
    json_t *json;

    (void)state;
    browse_letter_read(&letter, &lane, &(struct sluice_message){.position = 1}, NULL, 0);
    assert_string_equal(letter.letter.source, "");
    assert_null(letter.letter.payload.data);
    json = browse_letter_json(&letter, NULL);
    assert_true(json_is_null(json_object_get(json, "id")));
    assert_true(json_is_null(json_object_get(json, "mapping")));
    assert_true(json_is_null(json_object_get(json, "position")));
    assert_true(json_is_null(json_object_get(json, "payload")));
    json_decref(json);
    browse_letter_fini(&letter);
}

static bool passes_fate(const struct dead_letter_collected *collected,
                        enum dead_letter_replayed replayed)
{
    struct dead_letter_query query = {.replayed = replayed};
    struct fault fault;
    struct browse_filter *filter = browse_filter_new(&query, &fault);
    bool result = browse_filter_passes_fate(filter, collected);

    browse_filter_free(filter);
    return result;
}

static void what_became_of_it(void **state)
{
    const struct dead_letter_collected here = {.fate = DEAD_LETTER_HERE, .id = "01KAS7M3Q2"},
                                       again = {.fate = DEAD_LETTER_HERE, .replay_count = 2},
                                       done = {.fate = DEAD_LETTER_DONE, .ended_wall_us = 1000000},
                                       gone = {.fate = DEAD_LETTER_DISCARDED};
    struct browse_letter letter;
    json_t *json, *fate;

    (void)state;
    for (int replayed = 0; replayed < 2; replayed++) {
        enum dead_letter_replayed asked =
            replayed ? DEAD_LETTER_REPLAYED : DEAD_LETTER_NEVER_REPLAYED;

        assert_int_equal(passes_fate(NULL, asked), !replayed);
        assert_int_equal(passes_fate(&here, asked), !replayed);
        assert_int_equal(passes_fate(&again, asked), replayed);
        assert_int_equal(passes_fate(&done, asked), replayed);
        assert_int_equal(passes_fate(&gone, asked), !replayed);
    }
    assert_true(passes_fate(NULL, DEAD_LETTER_ANY) && passes_fate(&done, DEAD_LETTER_ANY));
    browse_letter_read(&letter, &lane, &message, NULL, 0);
    json = browse_letter_json(&letter, &done);
    fate = json_object_get(json, "collected");
    assert_string_equal(json_string_value(json_object_get(fate, "state")), "replayed");
    assert_true(json_is_null(json_object_get(fate, "id")));
    assert_string_equal(json_string_value(json_object_get(fate, "ended")),
                        "1970-01-01T00:00:01.000000Z");
    json_decref(json);
    json = browse_letter_json(&letter, &here);
    fate = json_object_get(json, "collected");
    assert_string_equal(json_string_value(json_object_get(fate, "state")), "here");
    assert_string_equal(json_string_value(json_object_get(fate, "id")), "01KAS7M3Q2");
    assert_true(json_is_null(json_object_get(fate, "ended")));
    json_decref(json);
    browse_letter_fini(&letter);
}

static bool passes(const struct dead_letter *letter, struct dead_letter_query query)
{
    struct fault fault;
    struct browse_filter *filter = browse_filter_new(&query, &fault);
    bool result;

    assert_non_null(filter);
    result = browse_filter_passes(filter, letter);
    browse_filter_free(filter);
    return result;
}

/* As the store's SQL chooses. */
static void what_is_chosen(void **state)
{
    const struct dead_letter letter = {.class = DEAD_AGE, .status = 404, .reason = "no such order 7",
                                       .token = "t", .token_size = 1, .key = BYTES("k"),
                                       .payload = BYTES("{\"n\": 3}"), .attempt_count = 5,
                                       .dead_wall_us = 1000};
    const struct dead_letter bare = {.class = DEAD_FOREIGN, .reason = "", .token = "",
                                     .payload = BYTES("no JSON")};
    const struct dead_letter_query all = {0};

    (void)state;
    assert_true(passes(&letter, all) && passes(&bare, all));
#define CHOSEN(...) passes(&letter, (struct dead_letter_query){__VA_ARGS__})
    assert_true(CHOSEN(.class_name = "age") && !CHOSEN(.class_name = "poison"));
    assert_true(CHOSEN(.status = 404) && !CHOSEN(.status = 405));
    assert_true(CHOSEN(.status = 400, .status_to = 499) && !CHOSEN(.status = 500, .status_to = 599));
    assert_true(!CHOSEN(.no_status = true));
    assert_true(CHOSEN(.error = "order [0-9]$") && !CHOSEN(.error = "^order"));
    assert_true(CHOSEN(.token = "t") && !CHOSEN(.token = "tt") && !CHOSEN(.token = ""));
    assert_true(CHOSEN(.key = BYTES("k")) && !CHOSEN(.key = BYTES("kk")));
    assert_true(CHOSEN(.attempts_from = 5, .attempts_to = 5) && !CHOSEN(.attempts_from = 6));
    assert_true(!CHOSEN(.attempts_to = 4));
    assert_true(CHOSEN(.since_wall_us = 1000) && !CHOSEN(.since_wall_us = 1001));
    assert_true(CHOSEN(.until_wall_us = 1001) && !CHOSEN(.until_wall_us = 1000));
    assert_true(CHOSEN(.where = "{\"n\": [3]}") && !CHOSEN(.where = "{\"n\": [4]}"));
#undef CHOSEN
    assert_true(passes(&bare, (struct dead_letter_query){.no_status = true}));
    assert_false(passes(&bare, (struct dead_letter_query){.where = "{\"n\": [3]}"}));
    assert_false(passes(&bare, (struct dead_letter_query){.key = BYTES("")}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_of_sluice),
        cmocka_unit_test(a_message_that_tells_nothing),
        cmocka_unit_test(what_became_of_it),
        cmocka_unit_test(what_is_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
