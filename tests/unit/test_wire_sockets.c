/* SPDX-License-Identifier: MIT
 * Sockets as curl asks for them: what epoll is told of, and when it is not. The connector is a plugin, so
 * its file is taken in whole. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../connectors/http/wire_sockets.c"

struct fixture {
    struct wire_sockets sockets;
    int here, there; /* a connection, and its other end */
};

static void connect_ends(struct fixture *fixture)
{
    struct curl_sockaddr address = {.family = AF_UNIX, .socktype = SOCK_STREAM};
    int pair[2];

    fixture->here = wire_sockets_open(&fixture->sockets, CURLSOCKTYPE_IPCXN, &address);
    assert_true(fixture->here >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(dup2(pair[0], fixture->here), fixture->here);
    close(pair[0]);
    fixture->there = pair[1];
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    fixture->sockets.epoll = epoll_create1(EPOLL_CLOEXEC);
    connect_ends(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    wire_sockets_close(&fixture->sockets, fixture->here);
    close(fixture->there);
    close(fixture->sockets.epoll);
    wire_sockets_fini(&fixture->sockets);
    free(fixture);
    return 0;
}

static void ask(struct fixture *fixture, int what)
{
    assert_int_equal(wire_sockets_watch(NULL, fixture->here, what, &fixture->sockets, NULL), 0);
}

/* What curl is to be told of; -1: epoll says nothing. */
static int ready(struct fixture *fixture)
{
    struct epoll_event event;
    int count = epoll_wait(fixture->sockets.epoll, &event, 1, 0);

    assert_true(count >= 0);
    if (!count)
        return -1;
    assert_int_equal(event.data.fd, fixture->here);
    return wire_sockets_ready(&fixture->sockets, event.data.fd, event.events);
}

static void an_answer_is_told(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, CURL_POLL_INOUT);
    assert_int_equal(ready(fixture), CURL_CSELECT_OUT);
    ask(fixture, CURL_POLL_IN);
    assert_int_equal(ready(fixture), -1);
    assert_int_equal(write(fixture->there, "x", 1), 1);
    assert_int_equal(ready(fixture), CURL_CSELECT_IN);
}

/* Of a request after another the kernel is told nothing. */
static void stays_registered_between_requests(void **state)
{
    struct fixture *fixture = *state;
    struct wire_socket *socket = &fixture->sockets.by_number[fixture->here];

    ask(fixture, CURL_POLL_IN);
    ask(fixture, CURL_POLL_REMOVE);
    assert_int_equal(socket->known, EPOLLIN);
    assert_int_equal(ready(fixture), -1);
    ask(fixture, CURL_POLL_IN);
    assert_int_equal(write(fixture->there, "x", 1), 1);
    assert_int_equal(ready(fixture), CURL_CSELECT_IN);
}

/* Or epoll would say so in every turn until curl looks at it again. */
static void an_end_between_requests_is_told_once(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, CURL_POLL_IN);
    ask(fixture, CURL_POLL_REMOVE);
    shutdown(fixture->there, SHUT_RDWR);
    assert_int_equal(ready(fixture), 0);
    assert_int_equal(ready(fixture), -1);
    ask(fixture, CURL_POLL_IN);
    assert_int_equal(ready(fixture), CURL_CSELECT_IN);
}

/* A server that speaks while nobody is to read. */
static void what_was_not_asked_for_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    char filling[4096] = "";

    while (send(fixture->here, filling, sizeof filling, MSG_DONTWAIT) > 0)
        ;
    ask(fixture, CURL_POLL_OUT);
    assert_int_equal(write(fixture->there, "x", 1), 1);
    assert_int_equal(ready(fixture), 0);
    assert_int_equal(ready(fixture), -1);
}

static void an_error_is_what_was_asked_for(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, CURL_POLL_OUT);
    close(fixture->there);
    fixture->there = -1;
    assert_int_equal(ready(fixture), CURL_CSELECT_OUT);
}

/* A new connection with the number of one that was closed. */
static void numbers_come_again(void **state)
{
    struct fixture *fixture = *state;
    int before = fixture->here;

    ask(fixture, CURL_POLL_IN);
    wire_sockets_close(&fixture->sockets, fixture->here);
    close(fixture->there);
    connect_ends(fixture);
    assert_int_equal(fixture->here, before);
    ask(fixture, CURL_POLL_IN);
    assert_int_equal(write(fixture->there, "x", 1), 1);
    assert_int_equal(ready(fixture), CURL_CSELECT_IN);
}

/* The resolver's are closed without a word behind "remove". */
static void sockets_of_others_are_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct wire_sockets *sockets = &fixture->sockets;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    wire_sockets_watch(NULL, pair[0], CURL_POLL_IN, sockets, NULL);
    assert_int_equal(write(pair[1], "x", 1), 1);
    assert_int_equal(wire_sockets_ready(sockets, pair[0], EPOLLIN), CURL_CSELECT_IN);
    wire_sockets_watch(NULL, pair[0], CURL_POLL_REMOVE, sockets, NULL);
    assert_int_equal(ready(fixture), -1);
    assert_int_equal(sockets->by_number[pair[0]].known, 0);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stays_registered_between_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_end_between_requests_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_asked_for_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_is_what_was_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_come_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_of_others_are_forgotten, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
