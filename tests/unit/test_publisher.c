/* SPDX-License-Identifier: MIT
 * The publisher between jobs and a place that does what the test says. Whatever the place does, no job
 * comes back as written of which a letter is neither confirmed by the place nor in the store. */
#define _GNU_SOURCE
#include "service/publisher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "service/options.h"
#include "service/state_name.h"
#include "scripted_place.h"

#define LETTERS 16

/* ---- the state directory ---- */

struct shelf {
    struct dead_letter_store base;
    atomic_int broken, kept;
    char names[EVENTS][16];
};

static int shelf_add(struct dead_letter_store *store, struct dead_letter *letters, size_t count,
                     struct fault *fault)
{
    struct shelf *shelf = (struct shelf *)store;

    if (shelf->broken)
        return fault_set(fault, "disk full");
    for (size_t i = 0; i < count; i++)
        snprintf(shelf->names[shelf->kept++], sizeof shelf->names[0], "%s", letters[i].token);
    return 0;
}

static int64_t shelf_expire(struct dead_letter_store *store, const char *mapping,
                            int64_t before_wall_us, uint32_t most, struct fault *fault)
{
    return 0;
}

static const struct dead_letter_store_ops shelf_ops = {.add = shelf_add, .expire = shelf_expire};

/* ---- a mapping with its publisher ---- */

struct fixture {
    struct mapping mapping;
    struct shelf shelf;
    struct recorder *recorder;
    struct mailbox replies;
    struct publisher *publisher;
    struct fault fault;
};

struct job {
    struct record_job record; /* first: replies are cast back */
    struct dead_letter letters[LETTERS];
    char names[LETTERS][16];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct problems problems = {0};

    open_place();
    fixture->mapping = (struct mapping){.name = (char *)"m", .connector = &connector};
    fixture->mapping.values =
        options_read(no_options, "source.place", NULL, (struct place){0}, &problems);
    fixture->mapping.letters_to = (struct letters_to){
        .connector = &connector, .values = fixture->mapping.values, .text = (char *)"place letters"};
    fixture->shelf.base.ops = &shelf_ops;
    assert_int_equal(mailbox_init(&fixture->replies, NULL), 0);
    fixture->recorder = recorder_new(NULL, &fixture->shelf.base, NULL, &fixture->fault);
    assert_int_equal(recorder_start(fixture->recorder, &fixture->fault), 0);
    fixture->publisher = publisher_new(&fixture->mapping, fixture->recorder, NULL, &fixture->fault);
    assert_non_null(fixture->publisher);
    assert_int_equal(publisher_start(fixture->publisher, &fixture->fault), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    publisher_stop(fixture->publisher, 0);
    publisher_free(fixture->publisher);
    recorder_free(fixture->recorder);
    mailbox_fini(&fixture->replies);
    options_free(fixture->mapping.values);
    close(place.fd);
    free(fixture);
    return 0;
}

/* A job of letters named by the letters of `names`. */
static struct job *submit(struct fixture *fixture, const char *names)
{
    struct job *job = calloc(1, sizeof *job);

    job->record = (struct record_job){.reply_to = &fixture->replies, .letters = job->letters};
    for (; *names; names++) {
        size_t at = job->record.letter_count++;

        snprintf(job->names[at], sizeof job->names[at], "%c", *names);
        job->letters[at] = (struct dead_letter){
            .mapping = "m", .revision = "1", .connector = "place", .lane = "q/0", .source = "q",
            .token = job->names[at], .class = DEAD_ATTEMPTS, .reason = "no",
            .payload = {"payload", 7}, .dead_wall_us = clock_wall()};
    }
    publisher_submit(fixture->publisher, &job->record);
    return job;
}

/* ---- waiting ---- */

static bool is_written(const struct fixture *fixture, const char *name)
{
    for (int i = 0; i < place.confirmed; i++)
        if (!strcmp(place.confirmed_names[i], name))
            return true;
    for (int i = 0; i < fixture->shelf.kept; i++)
        if (!strcmp(fixture->shelf.names[i], name))
            return true;
    return false;
}

/* The next job that comes back. */
static struct job *await_job(struct fixture *fixture)
{
    struct pollfd poll_for = {.fd = mailbox_fd(&fixture->replies), .events = POLLIN};
    struct mailbox_item *item = NULL;
    struct job *job;

    while (!item) {
        if (poll(&poll_for, 1, (int)(PATIENCE_US / CLOCK_MS)) != 1)
            fail_msg("no job came back within 20 s");
        item = mailbox_take_all(&fixture->replies);
    }
    assert_null(item->next);
    job = (struct job *)item;
    for (size_t i = 0; !job->record.failed && i < job->record.letter_count; i++)
        if (!is_written(fixture, job->names[i]))
            fail_msg("letter %s is told as written and is nowhere", job->names[i]);
    return job;
}

static void assert_no_job(struct fixture *fixture)
{
    assert_null(mailbox_take_all(&fixture->replies));
}

static struct publisher_status read_status(struct fixture *fixture)
{
    struct publisher_status status;

    publisher_read_status(fixture->publisher, &status);
    return status;
}

/* Until the status fits; it is shared once a turn. */
#define AWAIT_STATUS(fixture, status, condition)                                                   \
    do {                                                                                           \
        int64_t until_us = clock_now() + PATIENCE_US;                                              \
        do {                                                                                       \
            status = read_status(fixture);                                                         \
            if (clock_now() > until_us)                                                            \
                fail_msg("not within 20 s: %s", #condition);                                       \
            poll(NULL, 0, 5);                                                                      \
        } while (!(condition));                                                                    \
    } while (0)

/* ---- what is confirmed ---- */

static void a_job_comes_back_when_all_is_confirmed(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = submit(fixture, "abc");
    struct publisher_status status;

    await_pieces(3);
    confirm(0);
    confirm(2);
    AWAIT_STATUS(fixture, status, status.published == 2 && status.waiting == 1);
    assert_no_job(fixture);
    confirm(1);
    assert_ptr_equal(await_job(fixture), job);
    assert_false(job->record.failed);
    AWAIT_STATUS(fixture, status, status.published == 3 && status.waiting == 0);
    assert_int_equal(status.failures, 0);
    assert_int_equal(status.error_wall_us, 0);
    assert_int_equal(status.state, SLUICE_STATE_RUNNING);
    free(job);
}

static void jobs_come_back_in_the_order_of_their_confirmations(void **state)
{
    struct fixture *fixture = *state;
    struct job *first = submit(fixture, "ab"), *second = submit(fixture, "cd");

    await_pieces(4);
    confirm(3);
    confirm(1);
    confirm(2);
    assert_ptr_equal(await_job(fixture), second);
    confirm(0);
    assert_ptr_equal(await_job(fixture), first);
    assert_false(first->record.failed || second->record.failed);
    free(first);
    free(second);
}

/* ---- what is refused ---- */

static void one_that_is_refused_is_sent_again_and_no_other(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = submit(fixture, "abc");
    struct publisher_status status;
    char id[32];

    await_pieces(3);
    refuse(1);
    confirm(0);
    confirm(2);
    await_pieces(4);
    assert_name(3, "b");
    memcpy(id, place.pieces[1].id, sizeof id);
    assert_int_equal(strlen(id), 26);
    assert_string_equal(place.pieces[3].id, id); /* whoever reads it knows it again */
    assert_no_job(fixture);
    confirm(3);
    assert_ptr_equal(await_job(fixture), job);
    AWAIT_STATUS(fixture, status, status.published == 3);
    assert_int_equal(status.failures, 1);
    assert_string_equal(status.error, "no room");
    assert_true(status.error_wall_us > 0 && !status.stuck);
    free(job);
}

static void a_place_that_refuses_all_is_tried_again_until_it_does_not(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = submit(fixture, "ab");
    struct publisher_status status;

    await_pieces(2);
    refuse(0);
    refuse(1);
    AWAIT_STATUS(fixture, status, status.stuck);
    assert_non_null(strstr(status.text, "dead letters cannot be written to place letters: no room"));
    assert_int_equal(status.waiting, 2);
    await_pieces(4);
    refuse(2);
    refuse(3);
    await_pieces(6);
    assert_no_job(fixture);
    confirm(4);
    confirm(5);
    assert_ptr_equal(await_job(fixture), job);
    AWAIT_STATUS(fixture, status, !status.stuck);
    assert_int_equal(status.failures, 4);
    assert_string_equal(status.text, "");
    assert_string_equal(status.error, "no room"); /* how it was is still told */
    free(job);
}

static void a_connector_without_room_is_given_the_rest_later(void **state)
{
    struct fixture *fixture = *state;
    struct publisher_status status;
    struct job *job;

    place.refuses = true;
    job = submit(fixture, "abc");
    AWAIT_STATUS(fixture, status, status.waiting == 3);
    assert_int_equal(place.piece_count, 0);
    place.refuses = false;
    tell((struct command){.answer = STATE, .state = SLUICE_STATE_RUNNING});
    await_pieces(3);
    for (size_t i = 0; i < 3; i++)
        confirm(i);
    assert_ptr_equal(await_job(fixture), job);
    assert_int_equal(read_status(fixture).failures, 0);
    free(job);
}

/* ---- a place that is slow, or gone ---- */

static void a_place_that_confirms_nothing_is_told_of(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = submit(fixture, "a");
    struct publisher_status status;

    await_pieces(1);
    AWAIT_STATUS(fixture, status, status.stuck); /* after 5 s */
    assert_non_null(strstr(status.text, "it confirms nothing"));
    assert_no_job(fixture);
    assert_int_equal(place.piece_count, 1); /* and it is not sent twice meanwhile */
    confirm(0);
    assert_ptr_equal(await_job(fixture), job);
    free(job);
}

static void a_connection_that_dies_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = submit(fixture, "abcd");
    struct publisher_status status;
    int64_t before_us = clock_wall();

    await_pieces(4);
    confirm(0);
    tell((struct command){.answer = STATE, .state = SLUICE_STATE_UNREACHABLE, .text = "it is gone"});
    for (size_t i = 1; i < 4; i++)
        tell((struct command){.answer = FAIL, .piece = i, .text = "connection lost"});
    AWAIT_STATUS(fixture, status, status.state == SLUICE_STATE_UNREACHABLE && status.stuck);
    assert_string_equal(status.state_text, "it is gone");
    assert_true(status.state_wall_us >= before_us);
    assert_int_equal(status.waiting, 3);
    assert_string_equal(state_name(status.state), "unreachable");
    tell((struct command){.answer = STATE, .state = SLUICE_STATE_RUNNING});
    await_pieces(7);
    assert_no_job(fixture);
    for (size_t i = 4; i < 7; i++)
        confirm(i);
    assert_ptr_equal(await_job(fixture), job);
    AWAIT_STATUS(fixture, status, status.published == 4 && !status.stuck);
    assert_int_equal(status.state, SLUICE_STATE_RUNNING);
    assert_string_equal(status.state_text, "");
    assert_string_equal(status.error, "connection lost");
    free(job);
}

static void a_stop_gives_back_what_is_not_confirmed_as_failed(void **state)
{
    struct fixture *fixture = *state;
    struct job *half = submit(fixture, "ab"), *late;

    await_pieces(2);
    confirm(0);
    publisher_stop(fixture->publisher, 0);
    assert_ptr_equal(await_job(fixture), half);
    assert_true(half->record.failed);
    assert_non_null(strstr(half->record.fault.text, "place letters: "));
    late = submit(fixture, "c");
    assert_ptr_equal(await_job(fixture), late);
    assert_true(late->record.failed);
    publisher_finish(fixture->publisher);
    while (!publisher_ended(fixture->publisher))
        poll(NULL, 0, 5);
    assert_int_equal(read_status(fixture).state, 0);
    assert_string_equal(state_name(0), "stopped");
    free(half);
    free(late);
}

/* ---- what does not fit ---- */

static void never(size_t piece)
{
    tell((struct command){.answer = NEVER, .piece = piece, .text = "too large"});
}

static void what_never_fits_is_kept_and_pointed_to(void **state)
{
    struct fixture *fixture = *state;
    struct job *job = submit(fixture, "ab");
    struct publisher_status status;

    await_pieces(2);
    confirm(1);
    never(0);
    await_pieces(3);
    assert_true(place.pieces[2].pointer);
    assert_int_equal(place.pieces[2].bytes, 0);
    assert_string_equal(place.pieces[2].id, place.pieces[0].id);
    assert_no_job(fixture); /* nobody would look for it here */
    confirm(2);
    assert_ptr_equal(await_job(fixture), job);
    AWAIT_STATUS(fixture, status, status.published == 2);
    assert_int_equal(status.kept, 1);
    assert_string_equal(status.error, "too large");
    free(job);
}

static void what_can_be_kept_nowhere_waits(void **state)
{
    struct fixture *fixture = *state;
    struct publisher_status status;
    struct job *job;

    fixture->shelf.broken = 1;
    job = submit(fixture, "a");
    await_pieces(1);
    never(0);
    AWAIT_STATUS(fixture, status, status.stuck);
    assert_non_null(strstr(status.text, "disk full"));
    assert_non_null(strstr(status.error, "disk full"));
    assert_no_job(fixture);
    fixture->shelf.broken = 0;
    await_pieces(2);
    never(1); /* it takes no word of it either: it is whole in the state directory */
    assert_ptr_equal(await_job(fixture), job);
    assert_false(job->record.failed);
    free(job);
}

/* Of one letter, with all that is to be large. */
static struct job *submit_large(struct fixture *fixture, struct sluice_bytes key,
                                struct sluice_bytes payload)
{
    struct job *job = calloc(1, sizeof *job);

    job->record = (struct record_job){
        .reply_to = &fixture->replies, .letters = job->letters, .letter_count = 1};
    strcpy(job->names[0], "a");
    job->letters[0] = (struct dead_letter){.mapping = "m", .revision = "1", .connector = "place",
                                           .lane = "q/0", .source = "q", .token = job->names[0],
                                           .class = DEAD_ATTEMPTS, .key = key, .payload = payload};
    publisher_submit(fixture->publisher, &job->record);
    return job;
}

/* 900 MiB that are no text are more than 1 GiB in base64; they need not be read to know that. */
static void a_record_that_would_be_cut_is_kept(void **state)
{
    struct fixture *fixture = *state;
    size_t bytes = (size_t)900 << 20;
    unsigned char *binary = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct publisher_status status;
    struct job *job;

    assert_ptr_not_equal(binary, MAP_FAILED);
    binary[0] = 0xff;
    fixture->mapping.letters_to.format = LETTER_AWS;
    job = submit_large(fixture, (struct sluice_bytes){NULL, 0}, (struct sluice_bytes){binary, bytes});
    await_pieces(1);
    assert_true(place.pieces[0].pointer);
    assert_int_equal(fixture->shelf.kept, 1);
    confirm(0);
    assert_ptr_equal(await_job(fixture), job);
    AWAIT_STATUS(fixture, status, status.kept == 1 && status.published == 1);
    assert_non_null(strstr(status.error, "1 GiB"));
    munmap(binary, bytes);
    free(job);
}

/* The key of a place without keys is a header. */
static void a_story_that_would_be_cut_is_kept(void **state)
{
    struct fixture *fixture = *state;
    size_t bytes = (size_t)17 << 20;
    char *key = calloc(1, bytes);
    struct job *job = submit_large(fixture, (struct sluice_bytes){key, bytes},
                                   (struct sluice_bytes){"payload", 7});
    struct publisher_status status;

    await_pieces(1);
    assert_true(place.pieces[0].pointer); /* without that key */
    assert_name(0, "a");
    assert_int_equal(fixture->shelf.kept, 1);
    confirm(0);
    assert_ptr_equal(await_job(fixture), job);
    AWAIT_STATUS(fixture, status, status.kept == 1 && status.published == 1);
    assert_non_null(strstr(status.error, "16 MiB"));
    free(key);
    free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_comes_back_when_all_is_confirmed, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_come_back_in_the_order_of_their_confirmations, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_that_is_refused_is_sent_again_and_no_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_place_that_refuses_all_is_tried_again_until_it_does_not,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_connector_without_room_is_given_the_rest_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_place_that_confirms_nothing_is_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_that_dies_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_gives_back_what_is_not_confirmed_as_failed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_never_fits_is_kept_and_pointed_to, setup, teardown),
        cmocka_unit_test_setup_teardown(what_can_be_kept_nowhere_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_would_be_cut_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_story_that_would_be_cut_is_kept, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
