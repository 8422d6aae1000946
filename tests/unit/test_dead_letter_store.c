/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "dead_letter_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/dead_letter_store_fold.h"
#include "io/dead_letter_store_id.h"

#define MIB ((size_t)1 << 20)

static const struct dead_letter_attempt two_attempts[2] = {
    {T0 - 20, 1500, 500, 100, "failed", "boom \"quoted\" \\ \001 \xff caf\xc3\xa9"},
    {T0 - 10, 2500, 0, 1, "failed", "connection reset"},
};
static const struct sluice_header two_headers[3] = {
    {{"trace", 5}, {"abc", 3}}, {{"empty", 5}, {"", 0}}, {{"none", 4}, {NULL, 0}}};

static struct dead_letter letter(const char *mapping, uint64_t position, int64_t dead)
{
    struct dead_letter letter = {.mapping = mapping,
                                 .revision = "0123456789abcdef",
                                 .connector = "kafka",
                                 .lane = "orders/3",
                                 .source = "orders",
                                 .partition = 3,
                                 .position = position,
                                 .message_wall_us = T0 - 5000,
                                 .timestamp_kind = SLUICE_TIMESTAMP_APPENDED,
                                 .delivery_count = 3,
                                 .message_id = {"id\0-1", 5},
                                 .identity = {"", 0},
                                 .token = "orders/3/7",
                                 .key = {"k\0y", 3},
                                 .payload = {"{\"a\":1}", 7},
                                 .headers = two_headers,
                                 .header_count = 3,
                                 .class = DEAD_ATTEMPTS,
                                 .reason = "HTTP 500: order 17 failed",
                                 .status = 500,
                                 .response = {"oops", 4},
                                 .attempts = two_attempts,
                                 .attempts_kept = 2,
                                 .attempt_count = 9,
                                 .first_wall_us = T0 - 20,
                                 .last_wall_us = T0 - 10,
                                 .dead_wall_us = dead};

    return letter;
}

static struct dead_letter add(struct fixture *fixture, struct dead_letter one)
{
    add_n(fixture, &one, 1);
    return one;
}

static struct seen list(struct fixture *fixture, struct dead_letter_query query)
{
    struct seen seen = {0};

    if (fixture->store->ops->list(fixture->store, &query, 0, see, &seen, &fixture->fault) != 0)
        fail_msg("%s", fixture->fault.text);
    return seen;
}

static uint64_t count(struct fixture *fixture, struct dead_letter_query query)
{
    uint64_t result = 0;

    if (fixture->store->ops->count(fixture->store, &query, &result, &fixture->fault) != 0)
        fail_msg("%s", fixture->fault.text);
    return result;
}

/* Groups as one line: `value:count value:count`. */
static int join(void *argument, const struct dead_letter_group *group)
{
    char *text = argument;

    assert_true(group->first_wall_us <= group->last_wall_us);
    assert_int_equal(strlen(group->example_id), 26);
    sprintf(text + strlen(text), "%s%s:%llu", *text ? " " : "", group->value ? group->value : "-",
            (unsigned long long)group->count);
    return 0;
}

static const char *groups(struct fixture *fixture, const char *field,
                          struct dead_letter_query query)
{
    static char text[4096];

    text[0] = '\0';
    if (fixture->store->ops->group(fixture->store, &query, field, join, text, &fixture->fault) != 0)
        fail_msg("%s", fixture->fault.text);
    return text;
}

static int check_whole(void *argument, const struct dead_letter *one)
{
    const char *id = argument;

    assert_string_equal(one->id, id);
    assert_string_equal(one->mapping, "orders");
    assert_string_equal(one->revision, "0123456789abcdef");
    assert_string_equal(one->connector, "kafka");
    assert_string_equal(one->lane, "orders/3");
    assert_string_equal(one->source, "orders");
    assert_int_equal(one->partition, 3);
    assert_true(one->position == UINT64_MAX - 1);
    assert_true(one->message_wall_us == T0 - 5000);
    assert_int_equal(one->timestamp_kind, SLUICE_TIMESTAMP_APPENDED);
    assert_int_equal(one->delivery_count, 3);
    assert_int_equal(one->message_id.size, 5);
    assert_memory_equal(one->message_id.data, "id\0-1", 5);
    assert_non_null(one->identity.data);
    assert_int_equal(one->identity.size, 0);
    assert_string_equal(one->token, "orders/3/7");
    assert_int_equal(one->key.size, 3);
    assert_memory_equal(one->key.data, "k\0y", 3);
    assert_int_equal(one->payload.size, 7);
    assert_int_equal(one->header_count, 3);
    assert_memory_equal(one->headers[0].name.data, "trace", 5);
    assert_memory_equal(one->headers[0].value.data, "abc", 3);
    assert_non_null(one->headers[1].value.data);
    assert_int_equal(one->headers[1].value.size, 0);
    assert_null(one->headers[2].value.data);
    assert_int_equal(one->class, DEAD_ATTEMPTS);
    assert_string_equal(one->reason, "HTTP 500: order 17 failed");
    assert_int_equal(one->status, 500);
    assert_memory_equal(one->response.data, "oops", 4);
    assert_int_equal(one->attempt_count, 9);
    assert_int_equal(one->attempts_kept, 2);
    assert_true(one->attempts[0].wall_us == T0 - 20 && one->attempts[0].duration_us == 1500);
    assert_int_equal(one->attempts[0].status, 500);
    assert_int_equal(one->attempts[0].batch_size, 100);
    assert_string_equal(one->attempts[0].error, "boom \"quoted\" \\ \001 ? caf\xc3\xa9");
    assert_string_equal(one->attempts[1].error, "connection reset");
    assert_true(one->first_wall_us == T0 - 20 && one->last_wall_us == T0 - 10);
    assert_true(one->dead_wall_us == T0);
    return 0;
}

static void keeps_all_of_a_letter(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter one = add(fixture, letter("orders", UINT64_MAX - 1, T0));
    struct dead_letter_query query = {.id_prefix = one.id};

    assert_int_equal(strlen(one.id), 26);
    assert_int_equal(
        fixture->store->ops->list(fixture->store, &query, 1, check_whole, one.id, &fixture->fault),
        0);
    assert_int_equal(count(fixture, query), 1);
    close_store(fixture);
    open_store(fixture, DEAD_LETTER_READ);
    assert_int_equal(
        fixture->store->ops->list(fixture->store, &query, 1, check_whole, one.id, &fixture->fault),
        0);
}

static int check_absent(void *argument, const struct dead_letter *one)
{
    assert_null(one->key.data);
    assert_non_null(one->payload.data);
    assert_int_equal(one->payload.size, 0);
    assert_int_equal(one->header_count, 0);
    assert_null(one->response.data);
    assert_int_equal(one->attempts_kept, 0);
    assert_string_equal(one->token, "");
    ++*(int *)argument;
    return 0;
}

static void absent_is_not_empty(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter one = {.mapping = "m", .lane = "l", .payload = {"", 0}, .class = DEAD_AGE};
    struct dead_letter_query query = {0};
    int seen = 0;

    add(fixture, one);
    fixture->store->ops->list(fixture->store, &query, 1, check_absent, &seen, NULL);
    assert_int_equal(seen, 1);
}

static void the_same_message_is_there_once(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter first = letter("orders", 1, T0), again = letter("orders", 1, T0 + 5000);
    struct dead_letter other = letter("orders", 1, T0 + 6000);

    first = add(fixture, first);
    again.status = 503;
    again.reason = "HTTP 503: no";
    again = add(fixture, again);
    assert_string_equal(first.id, again.id);
    assert_int_equal(count(fixture, (struct dead_letter_query){0}), 1);
    assert_string_equal(groups(fixture, "status", (struct dead_letter_query){0}), "503:1");
    assert_string_equal(groups(fixture, "error", (struct dead_letter_query){0}), "HTTP 503: no:1");
    /* Position reused for another message, as after a queue was made anew: both stay. */
    other.payload = (struct sluice_bytes){"other", 5};
    other = add(fixture, other);
    assert_string_not_equal(first.id, other.id);
    assert_int_equal(count(fixture, (struct dead_letter_query){0}), 2);
    /* Twice in one transaction. */
    struct dead_letter twice[2] = {letter("orders", 2, T0), letter("orders", 2, T0)};
    add_n(fixture, twice, 2);
    assert_string_equal(twice[0].id, twice[1].id);
    assert_int_equal(count(fixture, (struct dead_letter_query){0}), 3);
}

static void lists_newest_first_by_choice(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[1000];
    struct seen seen;
    struct dead_letter_query query = {0};

    for (int i = 0; i < 1000; i++) {
        letters[i] = letter(i % 2 ? "orders" : "payments", (uint64_t)i, T0 + i * CLOCK_SECOND);
        letters[i].status = i % 5 ? 500 : 422;
        letters[i].class = i % 5 ? DEAD_ATTEMPTS : DEAD_POISON;
    }
    add_n(fixture, letters, 1000);
    seen = list(fixture, query);
    assert_int_equal(seen.count, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen.positions[i], 999 - i);
    query.limit = 3;
    seen = list(fixture, query);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.positions[2], 997);
    query = (struct dead_letter_query){.mapping = "orders", .class_name = "poison"};
    seen = list(fixture, query);
    assert_int_equal(seen.count, 100);
    assert_int_equal(seen.positions[0], 995);
    assert_int_equal(seen.positions[1], 985);
    assert_int_equal(count(fixture, query), 100);
    query.status = 500;
    assert_int_equal(list(fixture, query).count, 0);
    assert_int_equal(count(fixture, query), 0);
    query = (struct dead_letter_query){.mapping = "payments",
                                       .since_wall_us = T0 + 10 * CLOCK_SECOND,
                                       .until_wall_us = T0 + 20 * CLOCK_SECOND};
    seen = list(fixture, query);
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.positions[0], 18);
    assert_int_equal(seen.positions[4], 10);
    assert_int_equal(count(fixture, query), 5);
    query = (struct dead_letter_query){.mapping = "unknown"};
    assert_int_equal(list(fixture, query).count, 0);
    query = (struct dead_letter_query){.id_prefix = "not an id"};
    assert_int_equal(list(fixture, query).count, 0);
}

static void groups_by_every_field(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[300];
    struct dead_letter_query query = {0};
    char reasons[300][40];

    for (int i = 0; i < 300; i++) {
        letters[i] = letter(i < 100 ? "orders" : "payments", (uint64_t)i,
                            T0 + (i / 100) * CLOCK_HOUR + i * CLOCK_SECOND);
        snprintf(reasons[i], sizeof reasons[i], "HTTP %d: order %d", i % 3 ? 500 : 404, i);
        letters[i].reason = reasons[i];
        letters[i].status = i % 3 ? 500 : 0;
        letters[i].class = i % 10 ? DEAD_ATTEMPTS : DEAD_NAMED;
    }
    add_n(fixture, letters, 300);
    assert_string_equal(groups(fixture, "error", query),
                        "HTTP 500: order #:200 HTTP 404: order #:100");
    assert_string_equal(groups(fixture, "class", query), "attempts:270 named:30");
    assert_string_equal(groups(fixture, "status", query), "500:200 none:100");
    assert_string_equal(groups(fixture, "mapping", query), "payments:200 orders:100");
    assert_string_equal(groups(fixture, "hour", query),
                        "2023-11-14T22:00Z:100 2023-11-14T23:00Z:100 2023-11-15T00:00Z:100");
    query.mapping = "orders";
    assert_string_equal(groups(fixture, "status", query), "500:66 none:34");
    query.limit = 1;
    assert_string_equal(groups(fixture, "status", query), "500:66");
    assert_int_equal(
        fixture->store->ops->group(fixture->store, &query, "colour", join, NULL, &fixture->fault),
        -1);
    assert_non_null(strstr(fixture->fault.text, "error, class, status, mapping, key or hour"));
}

/* Counting takes whole hours from the tally and the rest from the letters: the same as listing. */
static void counts_agree_with_lists(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[400];

    for (int i = 0; i < 400; i++)
        letters[i] = letter("orders", (uint64_t)i, T0 + i * (CLOCK_HOUR / 60));
    add_n(fixture, letters, 400);
    for (int since = -30; since < 430; since += 23) {
        for (int until = since; until < 430; until += 37) {
            struct dead_letter_query query = {.since_wall_us = T0 + since * (CLOCK_HOUR / 60),
                                              .until_wall_us = T0 + until * (CLOCK_HOUR / 60)};

            assert_int_equal(count(fixture, query), list(fixture, query).count);
        }
    }
}

static void a_clock_set_back_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter letters[100];

    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 100; i++)
            letters[i] =
                letter("orders", (uint64_t)(round * 100 + i), T0 - (round % 2) * CLOCK_HOUR);
        add_n(fixture, letters, 100);
    }
    assert_int_equal(list(fixture, (struct dead_letter_query){0}).count, 400);
    assert_int_equal(count(fixture, (struct dead_letter_query){0}), 400);
}

static void expires_by_mapping_and_in_steps(void **state)
{
    struct fixture *fixture = *state;
    const struct dead_letter_store_ops *ops = fixture->store->ops;
    struct dead_letter letters[500];

    for (int i = 0; i < 500; i++) {
        letters[i] = letter(i % 2 ? "orders" : "payments", (uint64_t)i, T0 + i * CLOCK_MINUTE);
        letters[i].class = i % 4 ? DEAD_ATTEMPTS : DEAD_AGE;
    }
    add_n(fixture, letters, 500);
    assert_int_equal(ops->expire(fixture->store, "orders", T0, 100, &fixture->fault), 0);
    assert_int_equal(ops->expire(fixture->store, "none", CLOCK_NEVER, 100, &fixture->fault), 0);
    assert_int_equal(
        ops->expire(fixture->store, "payments", T0 + 250 * CLOCK_MINUTE, 100, &fixture->fault),
        100);
    assert_int_equal(
        ops->expire(fixture->store, "payments", T0 + 250 * CLOCK_MINUTE, 100, &fixture->fault), 25);
    assert_int_equal(
        ops->expire(fixture->store, "payments", T0 + 250 * CLOCK_MINUTE, 100, &fixture->fault), 0);
    assert_string_equal(groups(fixture, "mapping", (struct dead_letter_query){0}),
                        "orders:250 payments:125");
    assert_int_equal(list(fixture, (struct dead_letter_query){.mapping = "payments"}).count, 125);
    /* What is left is still counted right by the hour. */
    assert_int_equal(
        count(fixture, (struct dead_letter_query){.until_wall_us = T0 + 300 * CLOCK_MINUTE}),
        150 + 25);
    assert_int_equal(ops->expire(fixture->store, "orders", CLOCK_NEVER, 1000, &fixture->fault),
                     250);
    assert_string_equal(groups(fixture, "mapping", (struct dead_letter_query){0}), "payments:125");
}

static void a_reader_works_beside_the_writer(void **state)
{
    struct fixture *fixture = *state, reader = *fixture;

    open_store(&reader, DEAD_LETTER_READ);
    for (int i = 0; i < 50; i++) {
        add(fixture, letter("orders", (uint64_t)i, T0 + i));
        assert_int_equal(count(&reader, (struct dead_letter_query){0}), i + 1);
        assert_int_equal(list(&reader, (struct dead_letter_query){0}).count, i + 1);
    }
    assert_int_equal(reader.store->ops->add(reader.store, &(struct dead_letter){.mapping = "x"}, 1,
                                            &reader.fault),
                     -1);
    close_store(&reader);
}

static void two_writers_take_turns(void **state)
{
    struct fixture *fixture = *state;
    int status;
    pid_t child;

    close_store(fixture);
    child = fork();
    for (int writer = child == 0; writer < 2; writer = 2) {
        open_store(fixture, DEAD_LETTER_WRITE);
        for (int i = 0; i < 200; i++)
            add(fixture, letter(writer ? "orders" : "payments", (uint64_t)i, T0));
        close_store(fixture);
    }
    if (child == 0)
        _exit(0);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    open_store(fixture, DEAD_LETTER_READ);
    assert_int_equal(count(fixture, (struct dead_letter_query){.mapping = "orders"}), 200);
    assert_int_equal(count(fixture, (struct dead_letter_query){.mapping = "payments"}), 200);
}

static void refused(struct fixture *fixture, enum dead_letter_access access, const char *what,
                    const char *cure)
{
    assert_null(dead_letter_store_sqlite_open(fixture->directory, access, &fixture->fault));
    if (!strstr(fixture->fault.text, what) || !strstr(fixture->fault.text, cure))
        fail_msg("'%s' names not both '%s' and '%s'", fixture->fault.text, what, cure);
}

static char *data_path(struct fixture *fixture)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
    return path;
}

static void execute(struct fixture *fixture, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(data_path(fixture), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_newer_version_is_refused(void **state)
{
    struct fixture *fixture = *state;

    close_store(fixture);
    execute(fixture, "PRAGMA user_version = 6");
    refused(fixture, DEAD_LETTER_READ, "format 6", "install");
    refused(fixture, DEAD_LETTER_WRITE, "format 6", "install");
}

/* As a writer leaves it for a moment, or for good when it is killed then. */
static void a_store_that_is_not_made_yet_is_none(void **state)
{
    static const char *const made[] = {"PRAGMA application_id", "PRAGMA journal_mode = WAL"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i <= 2; i++) {
        memset(fixture->fault.text, 'x', 8);
        assert_null(dead_letter_store_sqlite_open(fixture->directory, DEAD_LETTER_READ,
                                                  &fixture->fault));
        assert_string_equal(fixture->fault.text, "");
        if (i < 2)
            execute(fixture, made[i]);
    }
    open_store(fixture, DEAD_LETTER_WRITE);
}

static void what_is_no_store_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char junk[8192];
    int fd;

    execute(fixture, "CREATE TABLE mine (x)");
    refused(fixture, DEAD_LETTER_WRITE, "not a dead-letter store", "move it away");
    memset(junk, 'x', sizeof junk);
    fd = open(data_path(fixture), O_WRONLY);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
    refused(fixture, DEAD_LETTER_WRITE, "damaged", ".recover");
    refused(fixture, DEAD_LETTER_READ, "damaged", ".recover");
}

static int as_nobody(struct fixture *fixture, int (*act)(struct fixture *))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        _exit(act(fixture));
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int read_ten(struct fixture *fixture)
{
    open_store(fixture, DEAD_LETTER_READ);
    assert_int_equal(count(fixture, (struct dead_letter_query){0}), 10);
    assert_int_equal(list(fixture, (struct dead_letter_query){0}).count, 10);
    close_store(fixture);
    return 0;
}

static int cannot_write(struct fixture *fixture)
{
    refused(fixture, DEAD_LETTER_WRITE, data_path(fixture), "own its state directory");
    return 0;
}

static int cannot_read(struct fixture *fixture)
{
    refused(fixture, DEAD_LETTER_READ, data_path(fixture), "run as the user");
    return 0;
}

static void a_read_only_directory_can_be_read(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 10; i++)
        add(fixture, letter("orders", (uint64_t)i, T0 + i));
    assert_int_equal(as_nobody(fixture, cannot_read), 0);
    close_store(fixture);
    assert_int_equal(chmod(data_path(fixture), 0444), 0);
    assert_int_equal(chmod(fixture->directory, 0555), 0);
    assert_int_equal(as_nobody(fixture, read_ten), 0);
    assert_int_equal(as_nobody(fixture, cannot_write), 0);
}

static void files_are_private(void **state)
{
    struct fixture *fixture = *state;
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct stat status;
    char path[200];

    umask(0);
    open_store(fixture, DEAD_LETTER_WRITE);
    add(fixture, letter("orders", 1, T0));
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", data_path(fixture), suffixes[i]);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
}

/* Adds letters of 100 kB until one is refused. Returns how many were taken. */
static int fill(struct fixture *fixture, int base, int most)
{
    char *payload = memset(malloc(100000), 'p', 100000);
    int taken;

    for (taken = 0; taken < most; taken++) {
        struct dead_letter one = letter("orders", (uint64_t)(base + taken), T0 + base + taken);

        one.payload = (struct sluice_bytes){payload, 100000};
        if (fixture->store->ops->add(fixture->store, &one, 1, &fixture->fault) != 0)
            break;
    }
    free(payload);
    return taken;
}

static void a_full_disk_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before, limit;
    int taken;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 2 * MIB;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    taken = fill(fixture, 0, 100);
    assert_in_range(taken, 1, 99);
    assert_int_equal(count(fixture, (struct dead_letter_query){0}), taken);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(fill(fixture, 1000, 10), 10);
    assert_int_equal(list(fixture, (struct dead_letter_query){0}).count, taken + 10);
    close_store(fixture);
    open_store(fixture, DEAD_LETTER_WRITE);
    assert_int_equal(list(fixture, (struct dead_letter_query){0}).count, taken + 10);
}

static int on_small_disk(struct fixture *fixture)
{
    char ballast[128];
    int fd, taken;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", fixture->directory, "tmpfs", 0, "size=4m") != 0)
        return 77;
    snprintf(ballast, sizeof ballast, "%s/ballast", fixture->directory);
    fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(fallocate(fd, 0, 0, 2 * MIB), 0);
    open_store(fixture, DEAD_LETTER_WRITE);
    taken = fill(fixture, 0, 100);
    assert_in_range(taken, 1, 99);
    assert_non_null(strstr(fixture->fault.text, "no space left"));
    assert_int_equal(list(fixture, (struct dead_letter_query){0}).count, taken);
    unlink(ballast);
    close(fd);
    assert_int_equal(fill(fixture, 1000, 2), 2);
    close_store(fixture);
    open_store(fixture, DEAD_LETTER_WRITE);
    assert_int_equal(list(fixture, (struct dead_letter_query){0}).count, taken + 2);
    close_store(fixture);
    return 0;
}

static void a_full_tmpfs_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(on_small_disk(fixture));
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skipped: mounting a tmpfs is not permitted here\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void folds_what_varies(void **state)
{
    static const struct {
        const char *reason, *folded;
    } cases[] = {
        {"", ""},
        {"HTTP 500: user 'joe' (order 8f14e45f-ceea) failed at 12:31",
         "HTTP 500: user '*' (order #) failed at #:#"},
        {"HTTP 503", "HTTP 503"},
        {"status 404, took 1234 ms", "status 404, took # ms"},
        {"XHTTP 500", "XHTTP #"},
        {"can't do it, isn't it", "can't do it, isn't it"},
        {"user42 in \"a b\" and 'open", "user# in \"*\" and 'open"},
        {"token abcdef0123456789xyz", "token #"},
        {"a\n\t b  c ", "a b c"},
        {"deadbeef feedface", "deadbeef feedface"},
        {"the function answered 422: {\"error\": \"order 4107 has no currency\"}",
         "the function answered 422: {\"error\": \"order # has no currency\"}"},
        {"the function answered 500: {\"error\":\"Timeout\",\"customer\":\"Miller\",\"at\":17}",
         "the function answered 500: {\"error\":\"Timeout\",\"customer\":\"*\",\"at\":#}"},
        {"{\"a\": \"user 'joe' is gone\", \"b\": \"x\"}",
         "{\"a\": \"user '*' is gone\", \"b\": \"*\"}"},
        {"answered 500: {\"error\": \"cut off", "answered 500: {\"error\": \"cut off"},
        {"caf\xc3\xa9 9", "caf\xc3\xa9 #"},
    };
    char folded[128], tiny[4];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dead_letter_store_fold(cases[i].reason, folded, sizeof folded);
        assert_string_equal(folded, cases[i].folded);
    }
    assert_int_equal(dead_letter_store_fold("ab\xc3\xa9z", tiny, sizeof tiny), 2);
    assert_string_equal(tiny, "ab");
}

static void ids_sort_by_time_and_lead_back(void **state)
{
    const uint64_t random[2] = {12345, UINT64_MAX};
    char id[DEAD_LETTER_ID + 1], later[DEAD_LETTER_ID + 1], prefix[DEAD_LETTER_ID + 1];
    int64_t since, until;

    dead_letter_store_id_write(T0 + 123456, random, id);
    dead_letter_store_id_write(T0 + 123457, random, later);
    assert_int_equal(strlen(id), DEAD_LETTER_ID);
    assert_true(strcmp(id, later) < 0);
    for (size_t size = 0; size <= DEAD_LETTER_ID; size++) {
        memset(prefix, 0, sizeof prefix);
        memcpy(prefix, id, size);
        assert_int_equal(dead_letter_store_id_range(prefix, &since, &until), 0);
        assert_true(since <= T0 + 123456 && T0 + 123456 < until);
    }
    assert_true(until - since == 1000);
    assert_int_equal(dead_letter_store_id_range("8", &since, &until), -1);
    assert_int_equal(dead_letter_store_id_range("0U", &since, &until), -1);
    assert_int_equal(dead_letter_store_id_range("01!", &since, &until), -1);
}

/* ---- `test_dead_letter_store bench [DIRECTORY [mess|keep]]`: figures, not a test; `keep` leaves the
 * store in DIRECTORY for others ---- */

static int ignore(void *argument, const struct dead_letter *one)
{
    return 0;
}

static int ignore_group(void *argument, const struct dead_letter_group *group)
{
    return 0;
}

static void time_reads(struct fixture *fixture, const char *id)
{
    static const char *const fields[] = {"error", "class", "status", "mapping", "hour"};
    struct dead_letter_query all = {0};
    struct dead_letter_query first = {.limit = 50};
    struct dead_letter_query chosen = {.limit = 50, .mapping = "mapping-3", .status = 503};
    struct dead_letter_query since = {.since_wall_us = T0 + 7 * CLOCK_MINUTE,
                                      .until_wall_us = T0 + 4000 * CLOCK_MINUTE};
    struct dead_letter_query one = {.id_prefix = id};
    int64_t began = clock_now();

#define TIMED(what, call)                                                                          \
    began = clock_now();                                                                           \
    fixture->store->ops->call;                                                                     \
    printf("%-28s %8.2f ms\n", what, (double)(clock_now() - began) / 1000)
    TIMED("ls first page", list(fixture->store, &first, 0, ignore, NULL, NULL));
    TIMED("ls mapping+status", list(fixture->store, &chosen, 0, ignore, NULL, NULL));
    TIMED("show", list(fixture->store, &one, 1, ignore, NULL, NULL));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        TIMED(fields[i], group(fixture->store, &all, fields[i], ignore_group, NULL, NULL));
    }
    TIMED("stats since..until", group(fixture->store, &since, "error", ignore_group, NULL, NULL));
    TIMED("ls everything", list(fixture->store, &all, 0, ignore, NULL, NULL));
}

/* An incident: one mapping, 32 lanes, a few errors; or a mess: 224 lanes and 280 kinds, mixed. */
static int bench(const char *directory, bool mess, bool keep)
{
    enum { LETTERS = 1000000, BATCH = 100 };
    static struct dead_letter letters[BATCH];
    static char payload[1024], reasons[BATCH][64], names[BATCH][16], lanes[BATCH][16],
        tokens[BATCH][32];
    struct fixture fixture = {0};
    int64_t began;
    size_t size;

    snprintf(fixture.directory, sizeof fixture.directory, "%s%s", directory,
             keep ? "" : "/bench-XXXXXX");
    assert_true(keep || mkdtemp(fixture.directory));
    size = (size_t)snprintf(payload, sizeof payload, "{\"id\":\"o-1\",\"lines\":[{\"n\":0}");
    for (int n = 0; size < sizeof payload - 120; n++)
        size += (size_t)snprintf(payload + size, sizeof payload - size,
                                 ",{\"article\":\"a-%d\",\"title\":\"A title of some length\"}", n);
    size += (size_t)snprintf(payload + size, sizeof payload - size,
                             "],\"status\":\"paid\",\"total\":12.50,\"customer\":{\"id\":7}}");
    open_store(&fixture, DEAD_LETTER_WRITE);
    began = clock_now();
    for (int done = 0; done < LETTERS; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            int n = done + i;

            snprintf(names[i], sizeof names[i], "mapping-%d", mess ? n % 7 : 0);
            snprintf(lanes[i], sizeof lanes[i], "orders/%d", n % 32);
            snprintf(reasons[i], sizeof reasons[i], "HTTP %d: order %d failed in step %c",
                     n % 3 ? 500 : 503, n, 'a' + n % (mess ? 20 : 2));
            letters[i] = letter(names[i], (uint64_t)n, T0 + n * INT64_C(300000));
            letters[i].lane = lanes[i];
            /* In no order, as ids of orders mostly are: a permutation. */
            snprintf(tokens[i], sizeof tokens[i], "order-%08x", (unsigned)n * 2654435761U);
            letters[i].token = tokens[i];
            letters[i].reason = reasons[i];
            letters[i].status = n % 3 ? 500 : 503;
            letters[i].payload = (struct sluice_bytes){payload, size};
        }
        add_n(&fixture, letters, BATCH);
        if ((done + BATCH) % (LETTERS / 5) == 0)
            printf("%7d letters of 1 KiB, by %d: %.0f/s\n", done + BATCH, BATCH,
                   (done + BATCH) * 1e6 / (double)(clock_now() - began));
    }
    close_store(&fixture);
    if (keep)
        return 0;
    open_store(&fixture, DEAD_LETTER_READ);
    time_reads(&fixture, letters[50].id);
    close_store(&fixture);
    open_store(&fixture, DEAD_LETTER_WRITE);
    began = clock_now();
    for (int i = 0; i < 100; i++)
        fixture.store->ops->expire(fixture.store, "mapping-0", CLOCK_NEVER, 500, NULL);
    printf("expire 50000 by 500: %.0f/s\n", 50000 * 1e6 / (double)(clock_now() - began));
    close_store(&fixture);
    nftw(fixture.directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

#define WITH(test, make) cmocka_unit_test_setup_teardown(test, make, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH(keeps_all_of_a_letter, setup),
        WITH(absent_is_not_empty, setup),
        WITH(the_same_message_is_there_once, setup),
        WITH(lists_newest_first_by_choice, setup),
        WITH(groups_by_every_field, setup),
        WITH(counts_agree_with_lists, setup),
        WITH(a_clock_set_back_loses_nothing, setup),
        WITH(expires_by_mapping_and_in_steps, setup),
        WITH(a_reader_works_beside_the_writer, setup),
        WITH(two_writers_take_turns, setup),
        WITH(a_newer_version_is_refused, setup),
        WITH(a_store_that_is_not_made_yet_is_none, setup_directory),
        WITH(what_is_no_store_is_refused, setup_directory),
        WITH(a_read_only_directory_can_be_read, setup),
        WITH(files_are_private, setup_directory),
        WITH(a_full_disk_is_tried_again, setup),
        WITH(a_full_tmpfs_is_tried_again, setup_directory),
        cmocka_unit_test(folds_what_varies),
        cmocka_unit_test(ids_sort_by_time_and_lead_back),
    };

    if (argc > 1 && strcmp(argv[1], "bench") == 0)
        return bench(argc > 2 ? argv[2] : "/var/tmp", argc > 3 && strcmp(argv[3], "mess") == 0,
                     argc > 3 && strcmp(argv[3], "keep") == 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
