/* SPDX-License-Identifier: MIT
 * How the HTTP client says that a request ended, where a server answers wrong, late or never. */
#define _GNU_SOURCE
#include "io/http_end.h"

#include "http_test_setup.h"
#include "io/http_client.h"

static void expect_end(server_script_fn script, enum http_end wanted, uint32_t status,
                       const char *error_part)
{
    struct setup *setup = begin(script);
    struct result result = invoke(setup);
    char place[64];

    assert_int_equal(result.answer.end, wanted);
    assert_int_equal(result.answer.status, status);
    snprintf(place, sizeof place, "127.0.0.1:%d: ", setup->server->port);
    if (wanted == HTTP_ANSWERED) {
        assert_string_equal(result.answer.error, "");
    } else {
        assert_memory_equal(result.answer.error, place, strlen(place));
        if (!strstr(result.answer.error, error_part))
            fail_msg("%s", result.answer.error);
    }
    assert_true(atomic_load(&setup->server->requests) <= 1);
    free(result.body);
    end(setup);
}

/* ---- every other end ---- */

static void close_at_once(struct peer *peer)
{
    peer_receive(peer);
}

static void say_half(struct peer *peer)
{
    peer_receive(peer);
    peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
}

static void say_nonsense(struct peer *peer)
{
    peer_receive(peer);
    peer_say(peer, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n\r\n");
}

static void say_bad_chunk(struct peer *peer)
{
    peer_receive(peer);
    peer_say(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n");
}

static void say_many_headers(struct peer *peer)
{
    peer_receive(peer);
    if (!peer_say(peer, "HTTP/1.1 200 OK\r\n"))
        return;
    for (int i = 0; i < 100000; i++)
        if (!peer_say(peer, "X-A: 0123456789012345678901234567890123456789\r\n"))
            return;
}

static void say_endless_body(struct peer *peer)
{
    char block[4096];

    memset(block, 'x', sizeof block);
    peer_receive(peer);
    peer_say(peer, "HTTP/1.1 200 OK\r\n\r\n");
    while (peer_write(peer, block, sizeof block))
        ;
}

static void broken(void **state)
{
    expect_end(close_at_once, HTTP_BROKEN, 0, "may have arrived");
    expect_end(say_half, HTTP_BROKEN, 200, "may have arrived");
    expect_end(say_nonsense, HTTP_BROKEN, 0, "the answer is not HTTP; does another program");
    expect_end(say_bad_chunk, HTTP_BROKEN, 200, "may have arrived");
    expect_end(say_many_headers, HTTP_BROKEN, 200, "headers are too large");
}

static void too_large(void **state)
{
    struct setup *setup = begin(say_endless_body);
    struct result result = invoke(setup);

    assert_int_equal(result.answer.end, HTTP_TOO_LARGE);
    assert_int_equal(result.answer.status, 200);
    assert_int_equal(result.answer.body_size, 65536);
    assert_non_null(strstr(result.answer.error, "larger than"));
    free(result.body);
    end(setup);
}

/* Exactly as much as allowed is not too much. */
static void say_64_kib(struct peer *peer)
{
    char block[65536];

    memset(block, 'x', sizeof block);
    while (peer_receive(peer))
        if (!peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n") ||
            !peer_write(peer, block, sizeof block))
            return;
}

static void as_large_as_allowed(void **state)
{
    struct setup *setup = begin(say_64_kib);
    struct result result = {0};

    for (int i = 1; i <= 3; i++) { /* the second time on the same memory */
        send_body(setup, &result, "x", 1);
        wait_for(setup, &result, i);
        assert_int_equal(result.answer.end, HTTP_ANSWERED);
        assert_int_equal(result.answer.body_size, 65536);
    }
    free(result.body);
    end(setup);
}

static void say_a_bit_and_wait(struct peer *peer)
{
    peer_receive(peer);
    peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    wait_for_end(peer);
}

static void expect_timeout(server_script_fn script, uint32_t status)
{
    struct setup *setup = begin(script);
    struct result result;

    setup->settings.timeout_us = 150 * CLOCK_MS;
    result = invoke(setup);
    assert_int_equal(result.answer.end, HTTP_TIMEOUT);
    assert_int_equal(result.answer.status, status);
    assert_true(result.answer.duration_us >= 149 * CLOCK_MS);
    assert_true(result.answer.duration_us < 5 * CLOCK_SECOND);
    assert_non_null(strstr(result.answer.error, "no whole answer within"));
    free(result.body);
    end(setup);
}

static void not_answered_in_time(void **state)
{
    expect_timeout(say_nothing, 0);
    expect_timeout(say_a_bit_and_wait, 200);
}

/* ---- nothing was sent ---- */

static struct result expect_not_sent(const char *url, const char *unix_socket, enum http_end wanted,
                                     const char *error_part)
{
    struct setup *setup = begin_url(url);
    struct result result;

    setup->settings.unix_socket = (char *)unix_socket;
    setup->settings.connect_timeout_us = 200 * CLOCK_MS;
    result = invoke(setup);
    assert_int_equal(result.answer.end, wanted);
    assert_int_equal(result.answer.status, 0);
    if (!strstr(result.answer.error, error_part))
        fail_msg("%s", result.answer.error);
    free(result.body);
    end(setup);
    return result;
}

static void refused(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound, but does not listen */
    char url[64];

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    expect_not_sent(url, NULL, HTTP_UNREACHABLE, "Connection refused");
    expect_not_sent("http://f/", "/nonexistent/socket", HTTP_UNREACHABLE,
                    "unix:/nonexistent/socket: cannot connect");
    expect_not_sent("http://name.invalid:8080/", NULL, HTTP_UNREACHABLE,
                    "name.invalid:8080: cannot resolve the name name.invalid");
    close(fd);
}

static void connecting_takes_too_long(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fillers[8];
    char url[64];

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    for (size_t i = 0; i < 8; i++) { /* nobody accepts: the queue is full after the first two */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&address, size);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    expect_not_sent(url, NULL, HTTP_CONNECT_TIMEOUT, "no connection within");
    for (size_t i = 0; i < 8; i++)
        close(fillers[i]);
    close(fd);
}

static void tls_is_never_answered(void **state)
{
    struct server *server = server_start(wait_for_end, NULL, NULL);
    char url[64];

    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server->port);
    expect_not_sent(url, NULL, HTTP_CONNECT_TIMEOUT, "no connection within");
    server_stop(server);
}

static void say_plain(struct peer *peer)
{
    peer_say(peer, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void plain_http_at_an_https_url(void **state)
{
    struct server *server = server_start(say_plain, NULL, NULL);
    char url[64];

    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server->port);
    expect_not_sent(url, NULL, HTTP_UNREACHABLE, "no TLS connection");
    server_stop(server);
}

/* ---- never sent twice ---- */

static atomic_int closed;

static void close_under_second_request(struct peer *peer)
{
    if (!peer_receive(peer) || !peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        return;
    if (peer->number == 0)
        peer_receive(peer);
    else
        while (peer_receive(peer))
            if (!peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
                return;
}

static void never_sent_twice(void **state)
{
    struct setup *setup = begin(close_under_second_request);
    struct result result = {0};

    send_body(setup, &result, "1", 1);
    wait_for(setup, &result, 1);
    assert_int_equal(result.answer.end, HTTP_ANSWERED);
    send_body(setup, &result, "2", 1);
    wait_for(setup, &result, 2);
    assert_int_equal(result.answer.end, HTTP_BROKEN);
    assert_non_null(strstr(result.answer.error, "may have arrived"));
    assert_int_equal(atomic_load(&setup->server->requests), 2);
    send_body(setup, &result, "3", 1);
    wait_for(setup, &result, 3);
    assert_int_equal(result.answer.end, HTTP_ANSWERED);
    assert_int_equal(atomic_load(&setup->server->requests), 3);
    free(result.body);
    end(setup);
}

static void answer_one_and_close(struct peer *peer)
{
    if (peer_receive(peer))
        peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    shutdown(peer->fd, SHUT_RDWR);
    atomic_fetch_add(&closed, 1);
}

/* A connection that the server closed while nothing was on it is noticed before the next request,
 * and does not keep the loop busy until then. */
static void idle_connection_closed_by_the_server(void **state)
{
    struct setup *setup = begin(answer_one_and_close);
    struct result result = {0};

    atomic_store(&closed, 0);
    for (int i = 1; i <= 5; i++) {
        int64_t until;
        int turns = 0;

        send_body(setup, &result, "1", 1);
        wait_for(setup, &result, i);
        assert_int_equal(result.answer.end, HTTP_ANSWERED);
        until = clock_now() + PATIENCE;
        while (atomic_load(&closed) < i && clock_now() < until)
            ;
        until = clock_now() + 20 * CLOCK_MS;
        for (; clock_now() < until; turns++)
            loop_turn(setup->loop, until);
        assert_true(turns < 10);
    }
    assert_int_equal(atomic_load(&setup->server->requests), 5);
    assert_int_equal(atomic_load(&setup->server->connections), 5);
    free(result.body);
    end(setup);
}

#define ANSWER_200 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define ANSWER_500 "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"

/* Two answers to the first request, 500 to all others. */
static void answer_too_often(struct peer *peer, const char *first, const char *then)
{
    if (!peer_receive(peer))
        return;
    if (peer->number == 0) {
        peer_say(peer, first);
        if (then)
            peer_say(peer, then);
        atomic_fetch_add(&closed, 1);
    } else {
        peer_say(peer, ANSWER_500);
    }
    while (peer_receive(peer))
        if (!peer_say(peer, ANSWER_500))
            return;
}

static void answer_twice_at_once(struct peer *peer)
{
    answer_too_often(peer, ANSWER_200 ANSWER_200, NULL);
}

static void answer_twice(struct peer *peer)
{
    answer_too_often(peer, ANSWER_200, ANSWER_200);
}

/* What came before a request is sent is no answer to it: taken as one, it would turn a failure into
 * a success. */
static void expect_no_mix_up(server_script_fn script, char *unix_path)
{
    struct server *server = server_start(script, NULL, unix_path);
    struct setup *setup;
    char url[64];
    struct result result = {0};
    int64_t until = clock_now() + PATIENCE;

    snprintf(url, sizeof url, "http://127.0.0.1:%d/", server->port);
    setup = begin_url(url);
    setup->server = server;
    setup->settings.unix_socket = unix_path;
    atomic_store(&closed, 0);
    send_body(setup, &result, "1", 1);
    wait_for(setup, &result, 1);
    assert_int_equal(result.answer.status, 200);
    while (!atomic_load(&closed) && clock_now() < until)
        ;
    send_body(setup, &result, "2", 1);
    wait_for(setup, &result, 2);
    assert_int_equal(result.answer.end, HTTP_ANSWERED);
    assert_int_equal(result.answer.status, 500);
    assert_int_equal(atomic_load(&setup->server->requests), 2);
    free(result.body);
    end(setup);
}

static void answers_are_not_mixed_up(void **state)
{
    char directory[] = "/tmp/sluice-test-XXXXXX", path[64];

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s", directory);
    for (int i = 0; i < 4; i++) {
        expect_no_mix_up(i % 2 ? answer_twice : answer_twice_at_once, i < 2 ? NULL : path);
        unlink(path);
    }
    rmdir(directory);
}

static void say_302(struct peer *peer)
{
    while (peer_receive(peer))
        if (!peer_say(peer, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n"
                            "Content-Length: 0\r\n\r\n"))
            return;
}

static void redirects_are_not_followed(void **state)
{
    expect_end(say_302, HTTP_ANSWERED, 307, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken),
        cmocka_unit_test(too_large),
        cmocka_unit_test(as_large_as_allowed),
        cmocka_unit_test(not_answered_in_time),
        cmocka_unit_test(refused),
        cmocka_unit_test(connecting_takes_too_long),
        cmocka_unit_test(tls_is_never_answered),
        cmocka_unit_test(plain_http_at_an_https_url),
        cmocka_unit_test(never_sent_twice),
        cmocka_unit_test(idle_connection_closed_by_the_server),
        cmocka_unit_test(answers_are_not_mixed_up),
        cmocka_unit_test(redirects_are_not_followed),
    };
    int failed;

    http_client_global_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_client_global_fini();
    return failed;
}
