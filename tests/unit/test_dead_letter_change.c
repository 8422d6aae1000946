/* SPDX-License-Identifier: MIT
 * What is done to dead letters: chosen by filters, removed, edited, imported, replayed, logged. */
#define _GNU_SOURCE
#include "dead_letter_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct dead_letter_attempt attempts[2] = {{T0 - 20, 1500, 500, 100, "failed", "first"},
                                                       {T0 - 10, 2500, 0, 1, "failed", "second"}};

static struct dead_letter letter(uint64_t position)
{
    return (struct dead_letter){.mapping = "orders",
                                .revision = "r1",
                                .connector = "kafka",
                                .lane = "orders/3",
                                .source = "orders",
                                .partition = 3,
                                .position = position,
                                .token = "t",
                                .key = {"k1", 2},
                                .payload = {"{\"a\":1}", 7},
                                .class = DEAD_ATTEMPTS,
                                .reason = "HTTP 500: order 17 failed",
                                .status = 500,
                                .attempts = attempts,
                                .attempts_kept = 2,
                                .attempt_count = 2,
                                .first_wall_us = T0 - 20,
                                .last_wall_us = T0 - 10,
                                .dead_wall_us = T0 + (int64_t)position};
}

/* One letter; how many were edited. */
static int64_t edit(struct fixture *fixture, int64_t number, uint32_t edits, const char *payload,
                    struct dead_letter_act *act)
{
    struct dead_letter_edit one = {
        .number = number, .edits = edits, .payload = {payload, strlen(payload)}};
    int64_t edited = fixture->store->ops->edit(fixture->store, &one, 1, act, &fixture->fault);

    if (edited >= 0)
        assert_int_equal(one.done, edited);
    return edited;
}

static int ignore(void *argument, const struct dead_letter *one)
{
    return 0;
}

static int note_position(void *argument, const struct dead_letter *one)
{
    char *text = argument;

    sprintf(text + strlen(text), "%s%llu", *text ? " " : "", (unsigned long long)one->position);
    return 0;
}

/* Positions of what the query lists; count and groups must agree. */
static const char *chosen(struct fixture *fixture, struct dead_letter_query query)
{
    static char text[8192];
    uint64_t count = 0, listed = 0;

    *text = '\0';
    if (fixture->store->ops->list(fixture->store, &query, 0, note_position, text,
                                  &fixture->fault) != 0)
        return fixture->fault.text;
    for (char *at = text; *at; at++)
        listed += *at == ' ';
    listed += *text != '\0';
    assert_int_equal(fixture->store->ops->count(fixture->store, &query, &count, &fixture->fault),
                     0);
    if (!query.limit)
        assert_int_equal(count, listed);
    return text;
}

#define CHOSEN(...) chosen(fixture, (struct dead_letter_query){__VA_ARGS__})

static void filters_choose(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[5];

    for (unsigned i = 0; i < 5; i++)
        letters[i] = letter(i);
    letters[1].status = 422;
    letters[1].reason = "HTTP 422: no such customer";
    letters[2].key = (struct sluice_bytes){"k\0b", 3};
    letters[2].token = "other";
    letters[3].attempt_count = 9;
    letters[3].status = 0;
    letters[3].reason = "connection reset";
    letters[4].replay_count = 1;
    letters[4].class = DEAD_POISON;
    add_n(fixture, letters, 5);
    assert_string_equal(CHOSEN(0), "4 3 2 1 0");
    assert_string_equal(CHOSEN(.sort = DEAD_LETTER_OLDEST), "0 1 2 3 4");
    assert_string_equal(CHOSEN(.sort = DEAD_LETTER_OLDEST, .limit = 2), "0 1");
    assert_string_equal(CHOSEN(.sort = DEAD_LETTER_ATTEMPTS_MOST, .limit = 2), "3 4");
    assert_string_equal(CHOSEN(.sort = DEAD_LETTER_ATTEMPTS_MOST), "3 4 2 1 0");
    assert_string_equal(CHOSEN(.status = 400, .status_to = 499), "1");
    assert_string_equal(CHOSEN(.status = 500), "4 2 0");
    assert_string_equal(CHOSEN(.no_status = true), "3");
    assert_string_equal(CHOSEN(.error = "no such (customer|order)$"), "1");
    assert_string_equal(CHOSEN(.error = "17", .mapping = "orders", .status = 500), "4 2 0");
    assert_string_equal(CHOSEN(.error = "17", .mapping = "payments"), "");
    assert_string_equal(CHOSEN(.key = {"k\0b", 3}), "2");
    assert_string_equal(CHOSEN(.key = {"k", 1}), "");
    assert_string_equal(CHOSEN(.token = "other"), "2");
    assert_string_equal(CHOSEN(.token = "other", .class_name = "poison"), "");
    assert_string_equal(CHOSEN(.attempts_from = 3), "3");
    assert_string_equal(CHOSEN(.attempts_to = 2), "4 2 1 0");
    assert_string_equal(CHOSEN(.replayed = DEAD_LETTER_REPLAYED), "4");
    assert_string_equal(CHOSEN(.replayed = DEAD_LETTER_NEVER_REPLAYED, .limit = 2), "3 2");
    assert_string_equal(CHOSEN(.class_name = "poison", .error = "order"), "4");
    assert_string_equal(CHOSEN(.id_prefix = letters[2].id), "2");
    assert_non_null(strstr(CHOSEN(.error = "a(b"), "\"a(b\" is no regular expression"));
}

static void many_kinds_are_one_list(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[100];
    char reasons[100][32], expected[1024] = "";

    for (unsigned i = 0; i < 100; i++) {
        letters[i] = letter(i);
        letters[i].mapping = i % 2 ? "orders" : "payments";
        snprintf(reasons[i], sizeof reasons[i], "broken %c%c", 'a' + i % 26, 'a' + i / 26);
        letters[i].reason = reasons[i];
    }
    add_n(fixture, letters, 100);
    for (unsigned i = 1; i < 100; i += 2)
        sprintf(expected + strlen(expected), "%s%u", *expected ? " " : "", i);
    assert_string_equal(CHOSEN(.mapping = "orders", .sort = DEAD_LETTER_OLDEST), expected);
}

static int join_group(void *argument, const struct dead_letter_group *group)
{
    char *text = argument;

    sprintf(text + strlen(text), "%s%s:%llu", *text ? " " : "", group->value ? group->value : "-",
            (unsigned long long)group->count);
    return 0;
}

static int join_step(void *argument, const char *value, size_t value_size, uint64_t step,
                     uint64_t count)
{
    char *text = argument;

    sprintf(text + strlen(text), "%s%s@%llu:%llu", *text ? " " : "", value,
            (unsigned long long)step, (unsigned long long)count);
    return 0;
}

static void groups_by_key_and_over_time(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_query query = {.since_wall_us = T0}, all = {0},
                             with_error = {.error = "order"};
    struct dead_letter letters[6];
    char text[512] = "";

    for (unsigned i = 0; i < 6; i++) {
        letters[i] = letter(i);
        letters[i].dead_wall_us = T0 + i * CLOCK_MINUTE;
        letters[i].key = (struct sluice_bytes){i < 4 ? "a" : "b", 1};
    }
    letters[5].key.data = NULL;
    letters[0].reason = "gone";
    add_n(fixture, letters, 6);
    fixture->store->ops->group(fixture->store, &all, "key", join_group, text, &fixture->fault);
    assert_string_equal(text, "a:4 -:1 b:1");
    *text = '\0';
    fixture->store->ops->group(fixture->store, &with_error, "key", join_group, text,
                               &fixture->fault);
    assert_string_equal(text, "a:3 -:1 b:1");
    *text = '\0';
    fixture->store->ops->group(fixture->store, &with_error, "error", join_group, text,
                               &fixture->fault);
    assert_string_equal(text, "HTTP 500: order # failed:5");
    *text = '\0';
    assert_int_equal(fixture->store->ops->trend(fixture->store, &query, "mapping",
                                                2 * CLOCK_MINUTE, join_step, text,
                                                &fixture->fault),
                     0);
    assert_string_equal(text, "orders@0:2 orders@1:2 orders@2:2");
    *text = '\0';
    fixture->store->ops->trend(fixture->store, &query, "mapping", CLOCK_HOUR, join_step, text,
                               &fixture->fault);
    assert_string_equal(text, "orders@0:6");
}

static struct dead_letter_usage usage(struct fixture *fixture, const char *mapping)
{
    struct dead_letter_usage usage = {0};

    assert_int_equal(
        fixture->store->ops->usage(fixture->store, mapping, &usage, &fixture->fault), 0);
    return usage;
}

static void removes_and_counts_what_it_removed(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_act act = {.action = "discard", .detail = "all", .uid = 7, .login = "me",
                                  .wall_us = T0};
    struct dead_letter letters[4];
    int64_t numbers[4];

    for (unsigned i = 0; i < 4; i++)
        letters[i] = letter(i);
    letters[3].mapping = "payments";
    letters[3].key.data = NULL;
    add_n(fixture, letters, 4);
    assert_int_equal(usage(fixture, NULL).bytes, 3 * 9 + 7);
    assert_int_equal(usage(fixture, "orders").count, 3);
    for (unsigned i = 0; i < 4; i++)
        numbers[i] = letters[i].dead_wall_us;
    numbers[1] += 1000; /* nobody there */
    assert_int_equal(fixture->store->ops->remove(fixture->store, numbers, NULL, 2, &act,
                                                 &fixture->fault),
                     1);
    assert_int_equal(fixture->store->ops->remove(fixture->store, numbers + 2, (uint32_t[]){0, 1}, 2,
                                                 &act, &fixture->fault),
                     1);
    assert_int_equal(act.count, 2);
    assert_string_equal(CHOSEN(0), "3 1");
    assert_int_equal(usage(fixture, NULL).bytes, 9 + 7);
    assert_int_equal(usage(fixture, "payments").count, 1);
}

static int note_act(void *argument, const struct dead_letter_act *act)
{
    char *text = argument;

    sprintf(text + strlen(text), "%s %s %u %s %llu/%llu;", act->action, act->detail, act->uid,
            act->login, (unsigned long long)act->count, (unsigned long long)act->failed);
    return 0;
}

/* More kinds, in turn, than are counted at once. */
static void removes_of_many_kinds(void **state)
{
    enum { KINDS = 70, LETTERS = 4 * KINDS };
    struct fixture *fixture = *state;
    static struct dead_letter letters[LETTERS];
    int64_t numbers[LETTERS / 2];

    for (unsigned i = 0; i < LETTERS; i++) {
        letters[i] = letter(i);
        letters[i].status = 400 + i % KINDS;
        letters[i].dead_wall_us = T0 + i * CLOCK_MINUTE;
    }
    add_n(fixture, letters, LETTERS);
    for (unsigned i = 0; i < LETTERS / 2; i++)
        numbers[i] = letters[i / KINDS * 2 * KINDS + i % KINDS].dead_wall_us;
    assert_int_equal(fixture->store->ops->remove(fixture->store, numbers, NULL, LETTERS / 2, NULL,
                                                 &fixture->fault),
                     LETTERS / 2);
    assert_int_equal(usage(fixture, NULL).count, LETTERS / 2);
    for (unsigned i = 0; i < KINDS; i++) {
        char left[16];

        snprintf(left, sizeof left, "%u %u", 3 * KINDS + i, KINDS + i);
        assert_string_equal(CHOSEN(.status = 400 + i), left);
    }
}

/* Numbers in order, with some that are gone, were edited, or are not to be removed: what is left, and
 * what is counted of it, is as if each had been removed by itself. */
static void removes_runs(void **state)
{
    enum { LETTERS = 1000, TRIES = 30 };
    struct fixture *fixture = *state;
    static struct dead_letter letters[LETTERS];
    unsigned seed = 7;

    for (unsigned try = 0; try < TRIES; try++) {
        int64_t numbers[LETTERS], removed;
        uint32_t edits[LETTERS];
        size_t count = 0, wanted = 0, sparse = try % 3 == 2 ? 40 : 8;
        char seen[LETTERS] = "";
        uint64_t left = 0;

        for (unsigned i = 0; i < LETTERS; i++) {
            letters[i] = letter(i);
            letters[i].status = 400 + (i * 7919 + try) % (try % 2 ? 90 : 3);
            letters[i].dead_wall_us = T0 + i * 10 * CLOCK_MINUTE;
        }
        add_n(fixture, letters, LETTERS);
        for (unsigned i = 0; i < LETTERS; i++) {
            bool stays = (size_t)rand_r(&seed) % 100 < sparse * (try % 3) || i == 500;

            if (i % 97 == 13)
                edit(fixture, letters[i].dead_wall_us, 0, "{}", NULL);
            seen[i] = (char)(stays || i % 97 == 13);
            if (!stays) {
                numbers[count] = letters[i].dead_wall_us + (i % 89 == 5); /* or nobody there */
                seen[i] |= i % 89 == 5;
                edits[count++] = 0;
                wanted += !seen[i];
            }
        }
        removed = fixture->store->ops->remove(fixture->store, numbers, edits, count, NULL,
                                              &fixture->fault);
        assert_int_equal(removed, wanted);
        assert_int_equal(fixture->store->ops->count(
                             fixture->store, &(struct dead_letter_query){0}, &left, &fixture->fault),
                         0);
        assert_int_equal(left, LETTERS - wanted);
        for (unsigned i = 0; i < LETTERS; i++)
            assert_int_equal(fixture->store->ops->read(fixture->store, letters[i].dead_wall_us, ignore,
                                                       NULL, &fixture->fault),
                             seen[i]);
        for (unsigned status = 400; status < 490; status += 10)
            CHOSEN(.status = status); /* the count by the tally is that of the list */
        for (unsigned i = 0; i < LETTERS; i++)
            numbers[i] = letters[LETTERS - 1 - i].dead_wall_us;
        assert_int_equal(fixture->store->ops->remove(fixture->store, numbers, NULL, LETTERS, NULL,
                                                     &fixture->fault),
                         left);
        assert_int_equal(usage(fixture, NULL).count, 0);
        assert_int_equal(usage(fixture, NULL).bytes, 0);
    }
}

static void the_log_tells_who_did_what(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_act first = {.action = "discard", .detail = "x", .uid = 7, .login = "me"};
    struct dead_letter_act second = {.action = "replay", .detail = "y", .uid = 0, .login = "root"};
    char text[256] = "";

    fixture->store->ops->log(fixture->store, &first, &fixture->fault);
    fixture->store->ops->log(fixture->store, &second, &fixture->fault);
    second.count = 3;
    second.failed = 1;
    assert_int_equal(fixture->store->ops->log(fixture->store, &second, &fixture->fault), 0);
    assert_int_equal(
        fixture->store->ops->acts(fixture->store, 0, note_act, text, &fixture->fault), 0);
    assert_string_equal(text, "replay y 0 root 3/1;discard x 7 me 0/0;");
    *text = '\0';
    fixture->store->ops->acts(fixture->store, 1, note_act, text, &fixture->fault);
    assert_string_equal(text, "replay y 0 root 3/1;");
}

static int copy_letter(void *argument, const struct dead_letter *one)
{
    char *text = argument;

    sprintf(text,
            "%.*s|%.*s|edits %u|replays %u|attempts %u kept %zu last %s|%s|%u|forced %u|",
            (int)one->payload.size, (const char *)one->payload.data, (int)one->original.size,
            one->original.data ? (const char *)one->original.data : "", one->edit_count,
            one->replay_count, one->attempt_count, one->attempts_kept,
            one->attempts_kept ? one->attempts[one->attempts_kept - 1].error : "", one->reason,
            one->status, one->forced);
    return 0;
}

static const char *story(struct fixture *fixture, int64_t number)
{
    static char text[512];

    *text = '\0';
    assert_true(fixture->store->ops->read(fixture->store, number, copy_letter, text,
                                          &fixture->fault) >= 0);
    return text;
}

static void an_edit_keeps_the_original(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter one = letter(1), same = letter(1);
    struct dead_letter_act act = {.action = "edit", .login = "me"};

    add_n(fixture, &one, 1);
    assert_int_equal(edit(fixture, one.dead_wall_us, 0, "{\"a\":22}", &act), 1);
    assert_int_equal(edit(fixture, one.dead_wall_us, 0, "late", &act), 0);
    assert_int_equal(edit(fixture, one.dead_wall_us, 1, "{}", &act), 1);
    assert_int_equal(act.count, 2);
    assert_int_equal(act.failed, 1);
    assert_memory_equal(story(fixture, one.dead_wall_us), "{}|{\"a\":1}|edits 2|", 19);
    assert_int_equal(usage(fixture, NULL).bytes, 4);
    /* The message comes again from its source: the edit stays. */
    add_n(fixture, &same, 1);
    assert_string_equal(CHOSEN(0), "1");
    assert_memory_equal(story(fixture, one.dead_wall_us), "{}|", 3);
}

static void many_edits_are_one_act(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[3] = {letter(1), letter(2), letter(3)};
    struct dead_letter_act act = {.action = "edit", .login = "me"};
    struct dead_letter_edit edits[4] = {{.payload = {"{}", 2}},
                                        {.payload = {"late", 4}},
                                        {.payload = {"{\"a\":333}", 9}},
                                        {.number = 5, .payload = {"gone", 4}}};

    add_n(fixture, letters, 3);
    for (size_t i = 0; i < 3; i++)
        edits[i].number = letters[i].dead_wall_us;
    assert_int_equal(edit(fixture, edits[1].number, 0, "first", NULL), 1);
    assert_int_equal(fixture->store->ops->edit(fixture->store, edits, 4, &act, &fixture->fault), 2);
    assert_int_equal(edits[0].done << 3 | edits[1].done << 2 | edits[2].done << 1 | edits[3].done, 10);
    assert_int_equal(act.count, 2);
    assert_int_equal(act.failed, 2);
    assert_memory_equal(story(fixture, edits[0].number), "{}|{\"a\":1}|edits 1|", 19);
    assert_memory_equal(story(fixture, edits[1].number), "first|{\"a\":1}|edits 1|", 22);
    assert_memory_equal(story(fixture, edits[2].number), "{\"a\":333}|{\"a\":1}|edits 1|", 26);
}

static void one_that_died_again_goes_back_to_its_row(void **state)
{
    static const struct dead_letter_attempt again[1] = {{T0 + 50, 1, 422, 1, "failed", "third"}};
    struct fixture *fixture = *state;
    struct dead_letter one = letter(1), replay = letter(77), gone = letter(78);

    add_n(fixture, &one, 1);
    fixture->store->ops->force(fixture->store, &one.dead_wall_us, 1, &fixture->fault);
    assert_non_null(strstr(story(fixture, one.dead_wall_us), "forced 1|"));
    replay.replay = true;
    strcpy(replay.id, one.id);
    replay.attempts = again;
    replay.attempts_kept = replay.attempt_count = 1;
    replay.status = 422;
    replay.reason = "HTTP 422: still wrong";
    gone.replay = true;
    strcpy(gone.id, "01KAS7M3Q20000000000000000");
    add_n(fixture, (struct dead_letter[]){replay, gone}, 2);
    assert_string_equal(CHOSEN(0), "1");
    assert_string_equal(CHOSEN(.status = 422), "1");
    assert_string_equal(CHOSEN(.status = 500), "");
    assert_string_equal(story(fixture, one.dead_wall_us),
                        "{\"a\":1}||edits 0|replays 1|attempts 3 kept 3 last third|HTTP 422: still "
                        "wrong|422|forced 1|");
    fixture->store->ops->force(fixture->store, &one.dead_wall_us, 1, &fixture->fault);
    assert_non_null(strstr(story(fixture, one.dead_wall_us), "forced 2|"));
}

static void imports_once(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter one = letter(1), other = letter(2), copy;

    add_n(fixture, &one, 1);
    copy = one;
    copy.reason = "another story";
    strcpy(other.id, "01HF7YAT0002QWERTYQWERTYQW");
    assert_int_equal(fixture->store->ops->import(fixture->store,
                                                 (struct dead_letter[]){copy, other}, 2, NULL,
                                                 &fixture->fault),
                     1);
    assert_int_equal(fixture->store->ops->import(fixture->store,
                                                 (struct dead_letter[]){copy, other}, 2, NULL,
                                                 &fixture->fault),
                     0);
    assert_string_equal(CHOSEN(0), "2 1");
    assert_non_null(strstr(story(fixture, one.dead_wall_us), "order 17 failed"));
    assert_string_equal(CHOSEN(.id_prefix = "01HF7YAT0002QWERTYQWERTYQW"), "2");
}

static void places_are_sorted_by_lane_and_position(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[4];
    struct dead_letter_query query = {.sort = DEAD_LETTER_OLDEST, .limit = 3};
    struct dead_letter_place *places;
    size_t count;

    for (unsigned i = 0; i < 4; i++)
        letters[i] = letter(10 - i);
    for (unsigned i = 0; i < 4; i++)
        letters[i].dead_wall_us = T0 + i;
    letters[1].lane = "orders/4";
    add_n(fixture, letters, 4);
    assert_int_equal(fixture->store->ops->select(fixture->store, &query, &places, &count,
                                                 &fixture->fault),
                     0);
    assert_int_equal(count, 3);
    assert_int_equal(places[0].position, 8);
    assert_int_equal(places[1].position, 10);
    assert_int_equal(places[2].position, 9);
    assert_int_not_equal(places[1].lane, places[2].lane);
    free(places);
}

/* Turns a closed file into one as an older version wrote it. */
static void make_older(const struct fixture *fixture, int version)
{
    static const char *const fourth[] = {"DROP TABLE place", "DROP TABLE collected",
                                         "PRAGMA user_version = 4", NULL};
    static const char *const third[] = {
        "DROP INDEX letter_token", "ALTER TABLE letter DROP COLUMN part",
        "CREATE INDEX letter_token ON letter (token)", "PRAGMA user_version = 3", NULL};
    static const char *const second[] = {
        "DROP VIEW letters", "ALTER TABLE letter DROP COLUMN timestamp_kind",
        "ALTER TABLE letter DROP COLUMN delivery_count", "ALTER TABLE body DROP COLUMN message_id",
        "ALTER TABLE body DROP COLUMN identity", "PRAGMA user_version = 2", NULL};
    static const char *const first[] = {
        "DROP INDEX letter_token", "DROP TABLE log",
        "ALTER TABLE letter DROP COLUMN bytes", "ALTER TABLE letter DROP COLUMN replayed_wall_us",
        "ALTER TABLE letter DROP COLUMN edit_count", "ALTER TABLE letter DROP COLUMN forced",
        "ALTER TABLE body DROP COLUMN original", "ALTER TABLE tally DROP COLUMN bytes",
        "PRAGMA user_version = 1", NULL};
    static const char *const none[] = {NULL};
    const char *const *const steps[] = {fourth, version < 4 ? third : none,
                                        version < 3 ? second : none, version < 2 ? first : none};
    char path[128];
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t step = 0; step < 4; step++)
        for (const char *const *sql = steps[step]; *sql; sql++)
            if (sqlite3_exec(db, *sql, NULL, NULL, NULL) != SQLITE_OK)
                fail_msg("%s: %s", *sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int stop_at(void *argument, const struct dead_letter *one)
{
    note_position(argument, one);
    return one->position == 30;
}

static void messages_are_read_in_the_order_of_their_numbers(void **state)
{
    static const int64_t numbers[] = {T0 + 1,  T0 + 2,  T0 + 5,  T0 + 6, T0 + 30,
                                      T0 + 30, T0 + 31, T0 + 99, T0 + 500};
    struct fixture *fixture = *state;
    const struct dead_letter_store_ops *ops = fixture->store->ops;
    struct dead_letter letters[100];
    char text[256] = "";

    for (unsigned i = 0; i < 100; i++)
        letters[i] = letter(i);
    add_n(fixture, letters, 100);
    assert_int_equal(ops->remove(fixture->store, &numbers[2], NULL, 1, NULL, &fixture->fault), 1);
    assert_int_equal(ops->read_messages(fixture->store, numbers, 9, note_position, text,
                                        &fixture->fault),
                     0);
    assert_string_equal(text, "1 2 6 30 31 99");
    *text = '\0';
    assert_int_equal(ops->read_messages(fixture->store, numbers, 9, stop_at, text, &fixture->fault),
                     0);
    assert_string_equal(text, "1 2 6 30");
    *text = '\0';
    assert_int_equal(ops->read_messages(fixture->store, &numbers[8], 1, note_position, text,
                                        &fixture->fault),
                     0);
    assert_string_equal(text, "");
}

static int note_message(void *argument, const struct dead_letter *one)
{
    struct sluice_message message = dead_letter_message(one);

    assert_null(message.message_id.data);
    assert_null(message.identity.data);
    assert_int_equal(message.delivery_count, 0);
    assert_int_equal(message.timestamp_kind, one->message_wall_us ? SLUICE_TIMESTAMP_CREATED
                                                                  : SLUICE_TIMESTAMP_NONE);
    ++*(int *)argument;
    return 0;
}

static void bring_up_to_date(struct fixture *fixture, int version)
{
    struct dead_letter letters[2] = {letter(1), letter(2)};
    int seen = 0;

    letters[0].message_wall_us = T0;
    if (version < 3)
        letters[0].message_id = (struct sluice_bytes){"lost in that version", 20};
    add_n(fixture, letters, 2);
    fixture->store->ops->close(fixture->store);
    make_older(fixture, version);
    fixture->store =
        dead_letter_store_sqlite_open(fixture->directory, DEAD_LETTER_READ, &fixture->fault);
    if (!fixture->store)
        fail_msg("%s", fixture->fault.text);
    assert_int_equal(usage(fixture, "orders").bytes, 2 * 9);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture->store->ops->read_messages(fixture->store,
                                                            &letters[i].dead_wall_us, 1,
                                                            note_message, &seen, &fixture->fault),
                         0);
        assert_int_equal(fixture->store->ops->read(fixture->store, letters[i].dead_wall_us,
                                                   note_message, &seen, &fixture->fault),
                         1);
    }
    assert_int_equal(seen, 4);
    assert_string_equal(CHOSEN(.token = "t", .sort = DEAD_LETTER_OLDEST), "1 2");
}

static void a_file_of_format_3_is_brought_up_to_date(void **state)
{
    bring_up_to_date(*state, 3);
}

static void a_file_of_format_4_is_brought_up_to_date(void **state)
{
    bring_up_to_date(*state, 4);
}

static void a_file_of_format_2_is_brought_up_to_date(void **state)
{
    bring_up_to_date(*state, 2);
}

static void an_older_file_is_brought_up_to_date(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter one = letter(1);

    bring_up_to_date(fixture, 1);
    fixture->store->ops->close(fixture->store);
    open_store(fixture, DEAD_LETTER_WRITE);
    assert_int_equal(edit(fixture, one.dead_wall_us, 0, "{}", NULL), 1);
    assert_memory_equal(story(fixture, one.dead_wall_us), "{}|{\"a\":1}|edits 1|", 19);
}

static void tokens_are_found_in_all_parts(void **state)
{
    enum { LETTERS = 60000, BATCH = 1000 };
    static struct dead_letter letters[BATCH];
    static char tokens[BATCH][16];
    struct fixture *fixture = *state;
    sqlite3_stmt *most;
    char path[128];
    sqlite3 *db;

    for (unsigned done = 0; done < LETTERS; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            letters[i] = letter(done + i);
            snprintf(tokens[i], sizeof tokens[i], "t%u", (done + i) % 20000);
            letters[i].token = tokens[i];
        }
        add_n(fixture, letters, BATCH);
    }
    assert_string_equal(CHOSEN(.token = "t7", .sort = DEAD_LETTER_OLDEST), "7 20007 40007");
    assert_string_equal(CHOSEN(.token = "t19999", .mapping = "orders"), "59999 39999 19999");
    assert_string_equal(CHOSEN(.token = "t19999", .since_wall_us = T0 + 30000,
                               .until_wall_us = T0 + 50000),
                        "39999");
    assert_string_equal(CHOSEN(.token = "t20000"), "");
    /* By chance: one of three million stores with so many letters has one part. */
    snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT max(part) FROM letter", -1, &most, NULL), 0);
    assert_int_equal(sqlite3_step(most), SQLITE_ROW);
    assert_in_range(sqlite3_column_int64(most, 0), 1, LETTERS / 1000);
    sqlite3_finalize(most);
    sqlite3_close(db);
}

static bool file_has(const struct fixture *fixture, const char *mark)
{
    static char bytes[4 << 20];
    char path[128];
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
    file = fopen(path, "rb");
    assert_non_null(file);
    size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return memmem(bytes, size, mark, strlen(mark)) != NULL;
}

static void what_is_discarded_leaves_the_file(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[300];

    for (unsigned i = 0; i < 300; i++) {
        letters[i] = letter(i);
        letters[i].payload = (struct sluice_bytes){"a payload to be found", 21};
    }
    add_n(fixture, letters, 300);
    fixture->store->ops->close(fixture->store);
    assert_true(file_has(fixture, "a payload to be found"));
    open_store(fixture, DEAD_LETTER_WRITE);
    for (unsigned i = 0; i < 150; i++)
        assert_int_equal(fixture->store->ops->remove(fixture->store, &letters[i].dead_wall_us, NULL,
                                                     1, NULL, &fixture->fault),
                         1);
    assert_int_equal(fixture->store->ops->expire(fixture->store, "orders", CLOCK_NEVER, 500,
                                                 &fixture->fault),
                     150);
    fixture->store->ops->close(fixture->store);
    fixture->store = NULL;
    assert_false(file_has(fixture, "a payload to be found"));
}

/* The locks by which another process knows that this one has the file open: without them it would delete
 * the journal that this one goes on writing. */
static bool is_locked_for_others(const struct fixture *fixture)
{
    char path[128];
    pid_t child = fork();
    int status;

    if (!child) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd;

        snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
        fd = open(path, O_RDWR);
        _exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void another_connection_keeps_the_locks(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter one = letter(1);

    add_n(fixture, &one, 1);
    assert_true(is_locked_for_others(fixture));
    for (int access = DEAD_LETTER_READ; access <= DEAD_LETTER_WRITE_SOON; access++) {
        struct dead_letter_store *other = dead_letter_store_sqlite_open(
            fixture->directory, (enum dead_letter_access)access, &fixture->fault);

        assert_non_null(other);
        assert_true(is_locked_for_others(fixture));
        other->ops->close(other);
        assert_true(is_locked_for_others(fixture));
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(filters_choose),
        TEST(many_kinds_are_one_list),
        TEST(groups_by_key_and_over_time),
        TEST(removes_and_counts_what_it_removed),
        TEST(removes_of_many_kinds),
        TEST(removes_runs),
        TEST(the_log_tells_who_did_what),
        TEST(an_edit_keeps_the_original),
        TEST(many_edits_are_one_act),
        TEST(one_that_died_again_goes_back_to_its_row),
        TEST(imports_once),
        TEST(places_are_sorted_by_lane_and_position),
        TEST(messages_are_read_in_the_order_of_their_numbers),
        TEST(what_is_discarded_leaves_the_file),
        TEST(tokens_are_found_in_all_parts),
        TEST(a_file_of_format_3_is_brought_up_to_date),
        TEST(a_file_of_format_4_is_brought_up_to_date),
        TEST(a_file_of_format_2_is_brought_up_to_date),
        TEST(an_older_file_is_brought_up_to_date),
        TEST(another_connection_keeps_the_locks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
