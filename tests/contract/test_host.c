/* SPDX-License-Identifier: MIT
 * The built program under a connector that does what the test says (plugins/scripted.c), with a
 * function that answers when the test says. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_host.h"
#include "host_function.h"
#include "runner.h"

#define SETTINGS_MOST 2000

struct run {
    struct function *function;
    pid_t pid;
    int listener, peer;
};

/* ---- the program ---- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* `more` goes into the mapping, beginning with a comma; NULL: nothing. */
static void configure(struct run *run, const char *source, const char *more)
{
    char text[SETTINGS_MOST];

    mkdir("mappings.d", 0700);
    snprintf(text, sizeof text,
             "{\"state_directory\": \"state\", \"connector_directory\": \"%s/tests/plugins/contract\","
             " \"log\": {\"format\": \"human\", \"level\": \"debug\"}}",
             getenv("SLUICE_BUILD"));
    write_file("sluice.yaml", text);
    snprintf(text, sizeof text,
             "{\"source\": {\"scripted\": {\"socket\": \"s\" %s}},"
             " \"target\": {\"http\": {\"url\": \"http://127.0.0.1:%d/\", \"timeout\": \"20s\","
             " \"concurrency\": \"4\"}, \"format\": \"json\"},"
             " \"batch\": {\"size\": 10, \"window\": \"10ms\"},"
             " \"retry\": {\"attempts\": 3, \"backoff\": \"10ms..50ms\"}"
             "%s}",
             source ? source : "", function_port(run->function), more ? more : "");
    write_file("mappings.d/m.yaml", text);
}

static void start(struct run *run)
{
    char program[4096];

    snprintf(program, sizeof program, "%s/sluice", getenv("SLUICE_BUILD"));
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (!run->pid) {
        execl(program, program, "run", "--config", ".", NULL);
        _exit(127);
    }
}

static bool readable(int fd, int64_t time_us)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, (int)(time_us / 1000)) == 1;
}

static void accept_connector(struct run *run)
{
    if (!readable(run->listener, host_patience(20 * HOST_SECOND)))
        fail_msg("the connector was not started");
    run->peer = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(run->peer >= 0);
}

static struct run *begin(const char *source, const char *more)
{
    struct run *run = calloc(1, sizeof *run);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "s"};

    run->function = function_start();
    run->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(run->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(run->listener, 8), 0);
    configure(run, source, more);
    start(run);
    accept_connector(run);
    return run;
}

static void say(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct run *run, const char *format, ...)
{
    char line[256];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert_int_equal(send(run->peer, line, (size_t)size, MSG_NOSIGNAL), size);
}

/* The next line that the connector tells; false when none comes in time. */
static bool hear(struct run *run, char line[256], int64_t time_us)
{
    ssize_t size;

    if (!readable(run->peer, time_us))
        return false;
    size = recv(run->peer, line, 255, 0);
    if (size <= 0)
        return false;
    line[size] = '\0';
    if (!strncmp(line, "wrong", 5))
        fail_msg("the host breaks the ABI: %s", line);
    return true;
}

/* Reads on until a line begins so, and gives its rest. */
static void expect(struct run *run, const char *beginning, char ret_rest[256])
{
    char line[256] = "nothing";
    int64_t until_us = host_now() + host_patience(20 * HOST_SECOND);

    while (host_now() < until_us && hear(run, line, until_us - host_now()))
        if (!strncmp(line, beginning, strlen(beginning))) {
            if (ret_rest)
                snprintf(ret_rest, 256, "%.*s", 200, line + strlen(beginning));
            return;
        }
    fail_msg("heard last \"%s\", expected \"%s\"", line, beginning);
}

/* Watches for a while that no line begins so. */
static void expect_none(struct run *run, const char *beginning, int64_t time_us)
{
    char line[256];
    int64_t until_us = host_now() + time_us;

    while (host_now() < until_us && hear(run, line, until_us - host_now()))
        if (!strncmp(line, beginning, strlen(beginning)))
            fail_msg("heard \"%s\"", line);
}

static void expect_held(struct run *run, int held)
{
    int64_t until_us = host_now() + host_patience(10 * HOST_SECOND);
    char rest[256];

    do {
        say(run, "held");
        expect(run, "held ", rest);
    } while (atoi(rest) != held && host_now() < until_us);
    assert_int_equal(atoi(rest), held);
}

static void expect_exit(struct run *run)
{
    int status, ended = (int)syscall(SYS_pidfd_open, run->pid, 0);
    bool in_time;

    assert_true(ended >= 0);
    in_time = readable(ended, host_patience(15 * HOST_SECOND));
    close(ended);
    if (!in_time)
        kill(run->pid, SIGKILL);
    assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
    run->pid = 0;
    if (!in_time)
        fail_msg("sluice did not end");
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        fail_msg("sluice ended with status %x", (unsigned)status);
}

/* As an operator stops it; all messages must have been released at `close`. */
static void stop(struct run *run)
{
    kill(run->pid, SIGTERM);
    expect(run, "stop", NULL);
    say(run, "stopped");
    expect(run, "close 0", NULL);
    expect_exit(run);
}

static void finish(struct run *run)
{
    if (run->pid)
        stop(run);
    close(run->peer);
    close(run->listener);
    function_stop(run->function);
    free(run);
}

static void crash(struct run *run)
{
    kill(run->pid, SIGKILL);
    waitpid(run->pid, NULL, 0);
    close(run->peer);
}

/* ---- settling ---- */

static void test_settles_what_is_done_and_no_more(void **state)
{
    struct run *run = begin(NULL, NULL);

    function_hold(run->function, "");
    say(run, "open 0");
    say(run, "deliver 0 100 25 10");
    function_wait(run->function, 0, 100, 109, 1);
    expect_none(run, "settle", HOST_SECOND / 2);
    function_hold(run->function, NULL);
    expect(run, "settle 0 124", NULL);
    expect_held(run, 0);
    for (int i = 100; i < 125; i++) {
        char id[16];

        snprintf(id, sizeof id, "0-%d", i);
        assert_int_equal(function_seen(run->function, id), 1);
    }
    finish(run);
}

static void test_settling_never_overtakes(void **state)
{
    struct run *run = begin(NULL, ", \"order\": \"none\"");

    function_hold(run->function, "0-0");
    say(run, "open 0");
    say(run, "deliver 0 0 100 10");
    function_wait(run->function, 0, 0, 99, 1);
    expect_none(run, "settle", HOST_SECOND / 2);
    function_hold(run->function, NULL);
    expect(run, "settle 0 99", NULL);
    finish(run);
}

/* The source never confirms what it was told: nothing waits for that. */
static void test_settles_that_are_never_confirmed(void **state)
{
    struct run *run = begin(NULL, NULL);

    say(run, "open 0");
    for (int i = 0; i < 10; i++) {
        char last[32];

        say(run, "deliver 0 %d 50 10", i * 50);
        snprintf(last, sizeof last, "settle 0 %d", i * 50 + 49);
        expect(run, last, NULL);
    }
    say(run, "settled 0 10");
    say(run, "deliver 0 500 10 10");
    expect(run, "settle 0 509", NULL);
    finish(run);
}

static void test_each_is_settled_alone_where_the_source_wants_it(void **state)
{
    struct run *run;
    bool seen[40] = {0};

    setenv("SLUICE_SCRIPTED_CAPABILITIES", "0x400", 1); /* SLUICE_HAS_STABLE_IDENTITY */
    run = begin(NULL, NULL);
    say(run, "open 0");
    say(run, "deliver 0 0 40 10");
    for (int i = 0; i < 40; i++) {
        char rest[256];

        expect(run, "alone 0 ", rest);
        assert_in_range(atoi(rest), 0, 39);
        assert_false(seen[atoi(rest)]);
        seen[atoi(rest)] = true;
    }
    expect_held(run, 0);
    finish(run);
}

/* ---- lanes ---- */

static void test_a_lane_is_drained_when_nothing_is_in_flight(void **state)
{
    struct run *run = begin(NULL, NULL);

    function_hold(run->function, "");
    say(run, "open 0");
    say(run, "open 1");
    say(run, "deliver 0 0 10 10");
    function_wait(run->function, 0, 0, 9, 1);
    say(run, "closing 0");
    say(run, "closing 1");
    expect(run, "drained 1", NULL);
    say(run, "deliver 0 10 10 10"); /* too late: it stays for the next owner */
    expect_none(run, "drained 0", HOST_SECOND / 2);
    function_hold(run->function, NULL);
    expect(run, "settle 0 9", NULL);
    expect(run, "drained 0", NULL);
    say(run, "lost 0");
    say(run, "lost 1");
    expect_held(run, 0);
    assert_int_equal(function_seen(run->function, "0-10"), 0);
    finish(run);
}

/* What lands after its lane went is not settled, neither in the old lane nor in the new one, and it
 * comes again under the same token. */
static void test_a_lane_that_goes_with_batches_in_flight(void **state)
{
    struct run *run = begin(NULL, NULL);

    function_hold(run->function, "");
    say(run, "open 0");
    say(run, "deliver 0 0 10 10");
    function_wait(run->function, 0, 0, 9, 1);
    say(run, "lost 0");
    expect_held(run, 0);
    say(run, "open 0");
    say(run, "deliver 0 0 5 10");
    expect_none(run, "settle", HOST_SECOND / 2);
    function_hold(run->function, NULL);
    function_wait(run->function, 0, 0, 4, 2);
    expect(run, "settle 0 4", NULL);
    say(run, "deliver 0 5 5 10");
    function_wait(run->function, 0, 5, 9, 2);
    expect(run, "settle 0 9", NULL);
    expect_held(run, 0);
    finish(run);
}

static void test_what_was_done_is_not_invoked_again(void **state)
{
    struct run *run = begin(NULL, NULL);

    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 100 10");
    expect(run, "settle 0 99", NULL);
    say(run, "lost 0"); /* before the source took note */
    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 110 10");
    expect(run, "settle 0 109", NULL);
    crash(run);
    start(run);
    accept_connector(run);
    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 120 10");
    expect(run, "settle 0 119", NULL);
    for (int i = 0; i < 120; i++) {
        char id[16];

        snprintf(id, sizeof id, "0-%d", i);
        if (i < 110 && function_seen(run->function, id) != 1)
            fail_msg("%s was invoked %d times", id, function_seen(run->function, id));
    }
    finish(run);
}

/* Delivery tags and the like begin again with each session: a new message is not taken for an old
 * one because it bears its position. */
static void test_positions_that_begin_again(void **state)
{
    struct run *run;

    setenv("SLUICE_SCRIPTED_CAPABILITIES", "0", 1);
    run = begin(NULL, ", \"idempotency\": {\"token\": \"hash\"}");
    say(run, "open 0");
    say(run, "deliver 0 0 20 10");
    for (int i = 0; i < 20; i++)
        expect(run, "alone 0 ", NULL);
    say(run, "lost 0");
    say(run, "open 0");
    say(run, "deliver 0 0 20 11");
    function_wait(run->function, 0, 0, 19, 2);
    for (int i = 0; i < 20; i++)
        expect(run, "alone 0 ", NULL);
    crash(run);
    start(run);
    accept_connector(run);
    say(run, "open 0");
    say(run, "deliver 0 0 20 12");
    function_wait(run->function, 0, 0, 19, 3);
    finish(run);
}

static void test_a_crash_loses_nothing_in_flight(void **state)
{
    struct run *run = begin(NULL, NULL);

    function_hold(run->function, "");
    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 30 10");
    function_wait(run->function, 0, 0, 9, 1);
    crash(run);
    function_hold(run->function, NULL);
    start(run);
    accept_connector(run);
    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 30 10");
    function_wait(run->function, 0, 0, 9, 2);
    expect(run, "settle 0 29", NULL);
    finish(run);
}

/* ---- connectors that misbehave ---- */

/* The ABI promises growing positions. Where they do not grow, all is invoked, what is settled never
 * goes back, and the record of what is finished holds nothing that was not delivered. */
static void test_positions_that_do_not_grow(void **state)
{
    struct run *run = begin(NULL, NULL);

    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 5 10");
    say(run, "deliver 0 8 2 10");
    expect(run, "settle 0 9", NULL);
    say(run, "deliver 0 5 2 10");
    function_wait(run->function, 0, 5, 6, 1);
    expect_none(run, "settle", HOST_SECOND / 2);
    say(run, "deliver 0 20 5 10");
    expect(run, "settle 0 24", NULL);
    crash(run);
    start(run);
    accept_connector(run);
    say(run, "open 0");
    say(run, "settled 0 0");
    say(run, "deliver 0 0 25 10");
    expect(run, "settle 0 24", NULL);
    function_wait(run->function, 0, 7, 7, 1);
    function_wait(run->function, 0, 10, 19, 1);
    finish(run);
}

static void test_more_than_there_is_room_for(void **state)
{
    struct run *run = begin(NULL, ", \"buffer\": {\"messages\": 50}");
    char rest[256];

    function_hold(run->function, "");
    say(run, "open 0");
    say(run, "room");
    expect(run, "room 50 ", NULL);
    say(run, "deliver 0 0 2000 10");
    function_wait(run->function, 0, 0, 9, 1);
    say(run, "room");
    expect(run, "room ", rest);
    assert_string_equal(rest, "0 0");
    function_hold(run->function, NULL);
    expect(run, "settle 0 1999", NULL);
    expect_held(run, 0);
    finish(run);
}

static void test_a_connector_that_blocks(void **state)
{
    struct run *run = begin(NULL, NULL);

    say(run, "open 0");
    say(run, "deliver 0 0 10 10");
    say(run, "block 3000");
    say(run, "deliver 0 10 10 10");
    expect(run, "settle 0 19", NULL);
    finish(run);
}

static void test_a_start_that_fails_is_tried_again(void **state)
{
    struct run *run = begin(", \"failing_starts\": 1", NULL);

    say(run, "open 0");
    say(run, "deliver 0 0 10 10");
    expect(run, "settle 0 9", NULL);
    finish(run);
}

static void test_a_fatal_error_in_the_middle(void **state)
{
    struct run *run = begin(NULL, NULL);

    function_hold(run->function, "");
    for (int lane = 0; lane < 5; lane++) {
        say(run, "open %d", lane);
        say(run, "deliver %d 0 20 10", lane);
    }
    function_wait(run->function, 0, 0, 9, 1);
    say(run, "state 6 the connection broke");
    for (int lane = 0; lane < 5; lane++)
        say(run, "lost %d", lane);
    expect_held(run, 0);
    function_hold(run->function, NULL);
    say(run, "state 2");
    for (int lane = 0; lane < 5; lane++) {
        say(run, "open %d", lane);
        say(run, "deliver %d 0 20 10", lane);
    }
    for (int lane = 0; lane < 5; lane++)
        function_wait(run->function, lane, 0, 19, 1);
    expect_held(run, 0);
    finish(run);
}

/* Unknown states and empty texts are no reason to stop. */
static void test_states_that_there_are_not(void **state)
{
    struct run *run = begin(NULL, NULL);

    say(run, "state 0");
    say(run, "state 99 what");
    say(run, "state 6");
    say(run, "open 0");
    say(run, "deliver 0 0 10 10");
    expect(run, "settle 0 9", NULL);
    finish(run);
}

/* What came before must not hold up the end for ever. */
static void test_a_connector_that_never_says_stopped(void **state)
{
    struct run *run = begin(NULL, ", \"drain\": \"1s\"");

    say(run, "open 0");
    say(run, "deliver 0 0 10 10");
    expect(run, "settle 0 9", NULL);
    kill(run->pid, SIGTERM);
    expect(run, "stop", NULL);
    expect(run, "close 0", NULL);
    expect_exit(run);
    finish(run);
}

static void test_a_stop_with_batches_in_flight(void **state)
{
    struct run *run = begin(NULL, NULL);

    function_hold(run->function, "");
    say(run, "open 0");
    say(run, "deliver 0 0 30 10");
    function_wait(run->function, 0, 0, 9, 1);
    kill(run->pid, SIGTERM);
    expect(run, "stop", NULL);
    say(run, "closing 0");
    expect_none(run, "drained", HOST_SECOND / 2);
    function_hold(run->function, NULL);
    expect(run, "settle 0 9", NULL);
    expect(run, "drained 0", NULL);
    say(run, "lost 0");
    say(run, "stopped");
    expect(run, "close 0", NULL);
    expect_exit(run);
    finish(run);
}

#define CASE(case_) {.name = #case_, .run = test_##case_}
static const struct contract_case cases[] = {
    CASE(settles_what_is_done_and_no_more),
    CASE(settling_never_overtakes),
    CASE(settles_that_are_never_confirmed),
    CASE(each_is_settled_alone_where_the_source_wants_it),
    CASE(a_lane_is_drained_when_nothing_is_in_flight),
    CASE(a_lane_that_goes_with_batches_in_flight),
    CASE(what_was_done_is_not_invoked_again),
    CASE(positions_that_begin_again),
    CASE(a_crash_loses_nothing_in_flight),
    CASE(positions_that_do_not_grow),
    CASE(more_than_there_is_room_for),
    CASE(a_connector_that_blocks),
    CASE(a_start_that_fails_is_tried_again),
    CASE(a_fatal_error_in_the_middle),
    CASE(states_that_there_are_not),
    CASE(a_connector_that_never_says_stopped),
    CASE(a_stop_with_batches_in_flight),
};

int main(int argc, char **argv)
{
    return runner_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
