/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/recorder.h"

#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define TTL CLOCK_HOUR

/* ---- a dead-letter store that fails as told ---- */

struct fake {
    struct dead_letter_store base;
    atomic_int fail; /* refuse all */
    atomic_int adds, letters, expired;
    atomic_uint slow_expiry; /* us for each letter: it always finds as many as it may take */
    atomic_uint step;        /* letters that it might take last */
    const char *hated; /* refuse whatever holds this token */
};

static int fake_add(struct dead_letter_store *store, struct dead_letter *letters, size_t count,
                    struct fault *fault)
{
    struct fake *fake = (struct fake *)store;

    if (fake->fail)
        return fault_set(fault, "disk full");
    for (size_t i = 0; i < count; i++)
        if (fake->hated && strcmp(letters[i].token, fake->hated) == 0)
            return fault_set(fault, "cannot take %s", fake->hated);
    for (size_t i = 0; i < count; i++)
        snprintf(letters[i].id, sizeof letters[i].id, "ID-%s", letters[i].token);
    fake->adds++;
    fake->letters += (int)count;
    return 0;
}

static int64_t fake_expire(struct dead_letter_store *store, const char *mapping,
                           int64_t before_wall_us, uint32_t most, struct fault *fault)
{
    struct fake *fake = (struct fake *)store;
    int64_t age = clock_wall() - before_wall_us;

    if (strcmp(mapping, "orders") == 0 && age > 59 * CLOCK_SECOND && age < 61 * CLOCK_SECOND)
        fake->expired++;
    if (!fake->slow_expiry)
        return 0;
    fake->step = most;
    for (int64_t until = clock_now() + (int64_t)most * fake->slow_expiry; clock_now() < until;)
        ; /* a disk that is busy */
    return most;
}

static const struct dead_letter_store_ops fake_ops = {.add = fake_add, .expire = fake_expire};

/* ---- a poller ---- */

struct fixture {
    struct token_store *tokens;
    struct token_reader *reader;
    struct fake letters;
    struct recorder *recorder;
    struct mailbox replies;
    struct fault fault;
};

struct job {
    struct record_job record; /* first: replies are cast back */
    struct token_record token;
    struct lane_record lane;
    struct dead_letter letter;
    char text[32];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    const struct recorder_options options = {.expire_interval_us = 20 * CLOCK_MS};

    fixture->letters.base.ops = &fake_ops;
    fixture->tokens = token_store_memory_open();
    fixture->reader = fixture->tokens->ops->reader_new(fixture->tokens, NULL);
    assert_int_equal(mailbox_init(&fixture->replies, NULL), 0);
    fixture->recorder =
        recorder_new(fixture->tokens, &fixture->letters.base, &options, &fixture->fault);
    assert_non_null(fixture->recorder);
    assert_int_equal(recorder_start(fixture->recorder, &fixture->fault), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    recorder_free(fixture->recorder);
    mailbox_fini(&fixture->replies);
    fixture->tokens->ops->reader_free(fixture->reader);
    fixture->tokens->ops->close(fixture->tokens);
    free(fixture);
    return 0;
}

static struct job *job_new(struct mailbox *replies, const char *token, int with_letter)
{
    struct job *job = calloc(1, sizeof *job);

    snprintf(job->text, sizeof job->text, "%s", token);
    job->token = (struct token_record){.mapping = "orders",
                                       .token = job->text,
                                       .token_size = strlen(job->text),
                                       .recorded_wall_us = clock_wall(),
                                       .expires_wall_us = clock_wall() + TTL};
    job->lane =
        (struct lane_record){"orders", "orders/0", job->text, strlen(job->text), CLOCK_NEVER};
    job->letter = (struct dead_letter){.mapping = "orders", .token = job->text};
    job->record = (struct record_job){.reply_to = replies,
                                      .tokens = &job->token,
                                      .token_count = 1,
                                      .lanes = &job->lane,
                                      .lane_count = 1,
                                      .letters = &job->letter,
                                      .letter_count = with_letter ? 1 : 0};
    return job;
}

/* Waits until `count` jobs came back and returns them, oldest first. */
static struct job *await(struct mailbox *replies, size_t count)
{
    struct mailbox_item *first = NULL, **end = &first;

    for (size_t got = 0; got < count;) {
        struct pollfd poll_for = {.fd = mailbox_fd(replies), .events = POLLIN};

        if (poll(&poll_for, 1, 10000) != 1)
            fail_msg("%zu of %zu replies within 10 s", got, count);
        for (*end = mailbox_take_all(replies); *end; end = &(*end)->next)
            got++;
    }
    return (struct job *)first;
}

static int recorded(struct fixture *fixture, const char *token)
{
    struct token_record found;
    int result;

    fixture->tokens->ops->reader_begin(fixture->reader, NULL);
    result = fixture->tokens->ops->find_token(fixture->reader, "orders", token, strlen(token),
                                              clock_wall(), &found, NULL);
    fixture->tokens->ops->reader_end(fixture->reader);
    return result;
}

static void records_all_parts_then_replies(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = job_new(&fixture->replies, "a", 1);
    struct recorder_stats stats;

    recorder_submit(fixture->recorder, &job->record);
    assert_ptr_equal(await(&fixture->replies, 1), job);
    assert_false(job->record.failed);
    assert_string_equal(job->letter.id, "ID-a");
    assert_int_equal(recorded(fixture, "a"), 1);
    recorder_stats(fixture->recorder, &stats);
    assert_int_equal(stats.commits, 2);
    assert_int_equal(stats.jobs, 1);
    assert_int_equal(stats.letters, 1);
    assert_int_equal(stats.waiting, 0);
    assert_string_equal(stats.last_error.text, "");
    free(job);
}

static void a_failing_letter_store_fails_only_letters(void **state)
{
    struct fixture *fixture = *state;
    struct job *with = job_new(&fixture->replies, "with", 1);
    struct job *without = job_new(&fixture->replies, "without", 0);
    struct recorder_stats stats;

    fixture->letters.fail = 1;
    recorder_submit(fixture->recorder, &with->record);
    recorder_submit(fixture->recorder, &without->record);
    await(&fixture->replies, 2);
    assert_true(with->record.failed);
    assert_string_equal(with->record.fault.text, "disk full");
    assert_false(without->record.failed);
    /* Its lane may not call finished what is not on the disk. */
    assert_int_equal(recorded(fixture, "with"), 0);
    assert_int_equal(recorded(fixture, "without"), 1);
    recorder_stats(fixture->recorder, &stats);
    assert_true(stats.failures > 0);
    assert_true(stats.letters_failing_since_us > 0);
    assert_int_equal(stats.tokens_failing_since_us, 0);
    assert_string_equal(stats.last_error.text, "disk full");
    fixture->letters.fail = 0;
    recorder_submit(fixture->recorder, &with->record);
    await(&fixture->replies, 1);
    assert_false(with->record.failed);
    assert_int_equal(recorded(fixture, "with"), 1);
    recorder_stats(fixture->recorder, &stats);
    assert_int_equal(stats.letters_failing_since_us, 0);
    free(with);
    free(without);
}

static void one_bad_job_does_not_fail_the_others(void **state)
{
    struct fixture *fixture = *state;
    struct job *jobs[50];
    static char longest[TOKEN_MAX + 1];

    fixture->letters.hated = "t13";
    for (int i = 0; i < 50; i++) {
        char token[8];

        snprintf(token, sizeof token, "t%d", i);
        jobs[i] = job_new(&fixture->replies, token, i % 2);
        if (i == 20) {
            jobs[i]->token.token = longest;
            jobs[i]->token.token_size = sizeof longest;
        }
        recorder_submit(fixture->recorder, &jobs[i]->record);
    }
    await(&fixture->replies, 50);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(jobs[i]->record.failed, i == 13 || i == 20);
        if (i != 20)
            assert_int_equal(recorded(fixture, jobs[i]->text), i != 13);
        free(jobs[i]);
    }
}

static void waiting_jobs_share_a_commit(void **state)
{
    struct fixture *fixture = *state;
    struct job *jobs[2000];
    struct recorder_stats stats;
    int64_t began = clock_now();
    char value[32];
    size_t size;

    for (int i = 0; i < 2000; i++) {
        char token[8];

        snprintf(token, sizeof token, "t%d", i);
        jobs[i] = job_new(&fixture->replies, token, 0);
        recorder_submit(fixture->recorder, &jobs[i]->record);
    }
    await(&fixture->replies, 2000);
    recorder_stats(fixture->recorder, &stats);
    /* One at once, then one every 2 ms. */
    assert_true(stats.commits <= 3 + (uint64_t)(clock_now() - began) / (2 * CLOCK_MS));
    fixture->tokens->ops->reader_begin(fixture->reader, NULL);
    assert_int_equal(fixture->tokens->ops->find_lane(fixture->reader, "orders", "orders/0", 0,
                                                     value, sizeof value, &size, NULL),
                     1);
    fixture->tokens->ops->reader_end(fixture->reader);
    assert_memory_equal(value, "t1999", 5);
    for (int i = 0; i < 2000; i++)
        free(jobs[i]);
}

/* More than a store takes in one transaction. */
static void a_huge_job_is_recorded_in_parts(void **state)
{
    enum { TOKENS = 70000 };
    struct fixture *fixture = *state;
    struct job *job = job_new(&fixture->replies, "last", 0);
    struct token_record *tokens = calloc(TOKENS, sizeof *tokens);
    char(*texts)[8] = calloc(TOKENS, sizeof *texts);

    for (int i = 0; i < TOKENS; i++) {
        tokens[i] = job->token;
        tokens[i].token = texts[i];
        tokens[i].token_size = (size_t)snprintf(texts[i], sizeof texts[i], "%d", i);
    }
    job->record.tokens = tokens;
    job->record.token_count = TOKENS;
    recorder_submit(fixture->recorder, &job->record);
    await(&fixture->replies, 1);
    assert_false(job->record.failed);
    assert_int_equal(recorded(fixture, "0"), 1);
    assert_int_equal(recorded(fixture, "69999"), 1);
    free(tokens);
    free(texts);
    free(job);
}

static void stop_finishes_what_was_submitted(void **state)
{
    struct fixture *fixture = *state;
    struct job *jobs[100];

    for (int i = 0; i < 100; i++) {
        jobs[i] = job_new(&fixture->replies, "x", 1);
        recorder_submit(fixture->recorder, &jobs[i]->record);
    }
    recorder_stop(fixture->recorder);
    await(&fixture->replies, 100);
    for (int i = 0; i < 100; i++) {
        assert_false(jobs[i]->record.failed);
        free(jobs[i]);
    }
    assert_int_equal(fixture->letters.letters, 100);
}

static void letters_expire_as_their_mapping_says(void **state)
{
    struct fixture *fixture = *state;
    int64_t until = clock_now() + 10 * CLOCK_SECOND;

    recorder_set_keep(fixture->recorder, "payments", 0);
    recorder_set_keep(fixture->recorder, "orders", 60 * CLOCK_SECOND);
    while (fixture->letters.expired < 2 && clock_now() < until)
        poll(NULL, 0, 1);
    assert_true(fixture->letters.expired >= 2);
}

static unsigned step_of(const struct fixture *fixture, unsigned from, unsigned to)
{
    int64_t until = clock_now() + 10 * CLOCK_SECOND;

    while ((fixture->letters.step < from || fixture->letters.step > to) && clock_now() < until)
        poll(NULL, 0, 1);
    return fixture->letters.step;
}

static void expiry_takes_fewer_at_once_where_each_takes_long(void **state)
{
    struct fixture *fixture = *state;

    recorder_set_keep(fixture->recorder, "orders", 60 * CLOCK_SECOND);
    fixture->letters.slow_expiry = 100;
    assert_in_range(step_of(fixture, 20, 120), 20, 120);
    fixture->letters.slow_expiry = 5000;
    assert_int_equal(step_of(fixture, 20, 20), 20);
    fixture->letters.slow_expiry = 1;
    assert_int_equal(step_of(fixture, 500, 500), 500);
}

struct submitter {
    struct fixture *fixture;
    int failed;
};

static void *submit_many(void *argument)
{
    struct submitter *submitter = argument;
    struct mailbox replies;

    mailbox_init(&replies, NULL);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 20; i++)
            recorder_submit(submitter->fixture->recorder,
                            &job_new(&replies, "t", i % 3 == 0)->record);
        for (struct mailbox_item *item = &await(&replies, 20)->record.item; item;) {
            struct job *job = (struct job *)item;

            item = item->next;
            submitter->failed += job->record.failed;
            free(job);
        }
    }
    mailbox_fini(&replies);
    return NULL;
}

static void several_pollers_submit(void **state)
{
    struct submitter submitters[3];
    pthread_t threads[3];

    for (int i = 0; i < 3; i++) {
        submitters[i] = (struct submitter){*state, 0};
        pthread_create(&threads[i], NULL, submit_many, &submitters[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(submitters[i].failed, 0);
    }
}

/* ---- kill -9 ---- */

#define ROUNDS  20
#define AT_ONCE 8 /* jobs a poller has out */

struct stores {
    struct token_store *tokens;
    struct dead_letter_store *letters;
};

static struct stores open_stores(const char *directory, enum dead_letter_access access)
{
    struct fault fault;
    struct stores stores;

    stores.tokens = token_store_lmdb_open(directory, (size_t)256 << 20, 24 * CLOCK_HOUR, &fault);
    if (!stores.tokens)
        fail_msg("%s", fault.text);
    stores.letters = dead_letter_store_sqlite_open(directory, access, &fault);
    if (!stores.letters)
        fail_msg("%s", fault.text);
    return stores;
}

static void close_stores(struct stores *stores)
{
    stores->tokens->ops->close(stores->tokens);
    stores->letters->ops->close(stores->letters);
}

static void send_job(struct recorder *recorder, struct job *job, uint32_t number)
{
    snprintf(job->text, sizeof job->text, "t%08u", number);
    job->token.token_size = strlen(job->text);
    job->lane.value = job->text;
    job->lane.value_size = strlen(job->text);
    job->letter.lane = "orders/0";
    job->letter.position = number;
    job->letter.class = DEAD_ATTEMPTS;
    job->letter.reason = "killed";
    job->record.letter_count = number % 3 == 0;
    recorder_submit(recorder, &job->record);
}

/* Records for ever, and tells through `tell` what was acknowledged, until it is killed. */
static void write_until_killed(const char *directory, uint32_t number, int tell)
{
    struct stores stores = open_stores(directory, DEAD_LETTER_WRITE);
    struct recorder *recorder = recorder_new(stores.tokens, stores.letters, NULL, NULL);
    struct mailbox replies;
    char lanes[AT_ONCE][16];

    mailbox_init(&replies, NULL);
    recorder_start(recorder, NULL);
    for (int i = 0; i < AT_ONCE; i++) {
        struct job *job = job_new(&replies, "", 0);

        snprintf(lanes[i], sizeof lanes[i], "lane/%d", i);
        job->lane.lane = lanes[i]; /* one job of a lane at a time */
        send_job(recorder, job, number++);
    }
    for (;;) {
        for (struct mailbox_item *item = &await(&replies, 1)->record.item; item;) {
            struct job *job = (struct job *)item;
            uint32_t done = (uint32_t)atoi(job->text + 1);

            item = item->next;
            if (job->record.failed || write(tell, &done, sizeof done) != sizeof done)
                _exit(1);
            send_job(recorder, job, number++);
        }
    }
}

static int mark(void *argument, const struct dead_letter *letter)
{
    ((char *)argument)[letter->position]++;
    return 0;
}

#define NUMBERS 2000000

/* All acknowledged tokens, letters and lanes are there, each letter once. */
static void check_stores(const char *directory, const char *acknowledged, uint32_t most)
{
    struct stores stores = open_stores(directory, DEAD_LETTER_READ);
    const struct token_store_ops *ops = stores.tokens->ops;
    struct token_reader *reader = ops->reader_new(stores.tokens, NULL);
    char *letters = calloc(NUMBERS, 1), token[16], value[16];
    struct dead_letter_query all = {0};
    struct token_record found;
    uint64_t counted = 0, listed = 0;
    size_t size;

    assert_int_equal(stores.letters->ops->list(stores.letters, &all, 1, mark, letters, NULL), 0);
    assert_int_equal(stores.letters->ops->count(stores.letters, &all, &counted, NULL), 0);
    ops->reader_begin(reader, NULL);
    for (uint32_t i = 0; i < most; i++) {
        listed += (unsigned char)letters[i];
        assert_in_range(letters[i], 0, 1);
        if (!acknowledged[i])
            continue;
        snprintf(token, sizeof token, "t%08u", i);
        if (ops->find_token(reader, "orders", token, 9, clock_wall(), &found, NULL) != 1)
            fail_msg("token %u was acknowledged and is lost", i);
        if (i % 3 == 0 && !letters[i])
            fail_msg("letter %u was acknowledged and is lost", i);
    }
    assert_int_equal(counted, listed);
    assert_int_equal(
        ops->find_lane(reader, "orders", "lane/0", 0, value, sizeof value, &size, NULL), 1);
    ops->reader_end(reader);
    ops->reader_free(reader);
    close_stores(&stores);
    free(letters);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

static void nothing_acknowledged_is_lost_by_kill(void **state)
{
    char directory[] = "/tmp/test-recorder-XXXXXX", *acknowledged = calloc(NUMBERS, 1);
    uint32_t most = 0, number, total = 0;
    struct stores stores;

    assert_non_null(mkdtemp(directory));
    stores = open_stores(directory, DEAD_LETTER_WRITE);
    close_stores(&stores);
    for (int round = 0; round < ROUNDS; round++) {
        int tell[2];
        pid_t child;

        assert_int_equal(pipe(tell), 0);
        child = fork();
        if (child == 0) {
            close(tell[0]);
            write_until_killed(directory, most, tell[1]);
        }
        close(tell[1]);
        /* After a random count of acknowledged jobs: in the midst of the next commits. */
        for (int left = rand() % 400 + 8; read(tell[0], &number, sizeof number) > 0;) {
            assert_true(number < NUMBERS - 100);
            acknowledged[number] = 1;
            total++;
            if (number >= most)
                most = number + 1;
            if (--left == 0)
                kill(child, SIGKILL);
        }
        close(tell[0]);
        waitpid(child, NULL, 0);
        most += AT_ONCE;
        check_stores(directory, acknowledged, most);
    }
    print_message("%u acknowledged over %d kills, none lost\n", total, ROUNDS);
    nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(acknowledged);
}

/* ---- `test_recorder expiry DIRECTORY COUNT`: how long a letter waits to be written while COUNT of a
 * mapping's oldest expire in a store made by `test_dead_letter_store bench DIRECTORY keep` ---- */

static uint64_t letters_left(struct dead_letter_store *store)
{
    struct dead_letter_usage usage;

    assert_int_equal(store->ops->usage(store, "mapping-0", &usage, NULL), 0);
    return usage.count;
}

/* Writes one letter after the other until so few are left; the longest wait. */
static int64_t write_while_expiring(struct recorder *recorder, struct dead_letter_store *reader,
                                    uint64_t left)
{
    struct mailbox replies;
    int64_t longest_us = 0;

    assert_int_equal(mailbox_init(&replies, NULL), 0);
    for (int i = 0; i % 64 || letters_left(reader) > left; i++) {
        char token[32];
        struct job *job;
        int64_t began = clock_now(), took;

        snprintf(token, sizeof token, "meanwhile-%d", i);
        job = job_new(&replies, token, 1);
        recorder_submit(recorder, &job->record);
        assert_ptr_equal(await(&replies, 1), job);
        took = clock_now() - began;
        longest_us = took > longest_us ? took : longest_us;
        free(job);
    }
    mailbox_fini(&replies);
    return longest_us;
}

static int time_expiry(const char *directory, uint64_t count)
{
    const struct recorder_options options = {.expire_interval_us = 20 * CLOCK_MS};
    struct token_store *tokens = token_store_memory_open();
    struct fault fault = {.text = ""};
    struct dead_letter_store *store =
        dead_letter_store_sqlite_open(directory, DEAD_LETTER_WRITE, &fault);
    struct dead_letter_store *reader =
        dead_letter_store_sqlite_open(directory, DEAD_LETTER_READ, &fault);
    struct dead_letter_place *places;
    struct recorder *recorder;
    int64_t died, began, longest_us;
    size_t found;

    assert_true(store && reader);
    assert_int_equal(reader->ops->select(reader,
                                         &(struct dead_letter_query){.mapping = "mapping-0",
                                                                     .sort = DEAD_LETTER_OLDEST,
                                                                     .limit = (uint32_t)count},
                                         &places, &found, &fault),
                     0);
    died = 0;
    for (size_t i = 0; i < found; i++)
        died = places[i].number > died ? places[i].number : died;
    free(places);
    recorder = recorder_new(tokens, store, &options, &fault);
    recorder_set_keep(recorder, "mapping-0", clock_wall() - died - 1);
    assert_int_equal(recorder_start(recorder, &fault), 0);
    began = clock_now();
    longest_us = write_while_expiring(recorder, reader, letters_left(reader) - found);
    printf("{\"expired\": %zu, \"seconds\": %.3f, \"longest_wait_ms\": %.1f}\n", found,
           (double)(clock_now() - began) / 1e6, (double)longest_us / 1e3);
    recorder_free(recorder);
    reader->ops->close(reader);
    store->ops->close(store);
    tokens->ops->close(tokens);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_all_parts_then_replies, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_letter_store_fails_only_letters, setup, teardown),
        cmocka_unit_test_setup_teardown(one_bad_job_does_not_fail_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_jobs_share_a_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_huge_job_is_recorded_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_finishes_what_was_submitted, setup, teardown),
        cmocka_unit_test_setup_teardown(letters_expire_as_their_mapping_says, setup, teardown),
        cmocka_unit_test_setup_teardown(expiry_takes_fewer_at_once_where_each_takes_long, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(several_pollers_submit, setup, teardown),
        cmocka_unit_test(nothing_acknowledged_is_lost_by_kill),
    };

    if (argc == 4 && strcmp(argv[1], "expiry") == 0)
        return time_expiry(argv[2], strtoull(argv[3], NULL, 10));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
