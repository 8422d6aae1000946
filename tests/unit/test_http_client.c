/* SPDX-License-Identifier: MIT
 * The HTTP client against a server that does what it is told, at once and wrong. */
#define _GNU_SOURCE
#include "io/http_client.h"

#include <setjmp.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http_test_server.h"

#define PATIENCE (20 * CLOCK_SECOND)

struct result {
    int calls;
    struct http_answer answer;
    char *body;
};

struct setup {
    struct loop *loop;
    struct http_client *client;
    struct http_settings settings;
    struct server *server;
    char url[128];
};

static void note(void *argument, const struct http_answer *answer)
{
    struct result *result = argument;

    result->calls++;
    result->answer = *answer;
    free(result->body);
    result->body = malloc(answer->body_size + 1);
    if (answer->body_size)
        memcpy(result->body, answer->body, answer->body_size);
    result->body[answer->body_size] = '\0';
    result->answer.body = result->body;
}

static struct setup *begin_url(const char *url)
{
    struct setup *setup = calloc(1, sizeof *setup);
    struct fault fault = {""};

    snprintf(setup->url, sizeof setup->url, "%s", url);
    setup->loop = loop_new(&fault);
    assert_non_null(setup->loop);
    setup->settings = (struct http_settings){.url = setup->url,
                                             .timeout_us = 5 * CLOCK_SECOND,
                                             .connect_timeout_us = 2 * CLOCK_SECOND,
                                             .response_bytes = 65536,
                                             .connections = 64};
    return setup;
}

static struct setup *begin(server_script_fn script)
{
    struct server *server = server_start(script, NULL, NULL);
    struct setup *setup;
    char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%d/f", server->port);
    setup = begin_url(url);
    setup->server = server;
    return setup;
}

static void open_client(struct setup *setup)
{
    struct fault fault = {""};

    if (setup->client)
        return;
    setup->client = http_client_new(setup->loop, &setup->settings, &fault);
    assert_string_equal(fault.text, "");
    assert_non_null(setup->client);
}

static void end(struct setup *setup)
{
    http_client_free(setup->client);
    loop_free(setup->loop);
    if (setup->server)
        server_stop(setup->server);
    free(setup);
}

static void send_body(struct setup *setup, struct result *result, const void *body, size_t size)
{
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Idempotency-Key: orders/3/1"};
    struct http_request request = {.body = body,
                                   .body_size = size,
                                   .headers = headers,
                                   .header_count = 2,
                                   .done = note,
                                   .argument = result};
    struct fault fault;
    int calls = result->calls;

    open_client(setup);
    assert_int_equal(http_client_send(setup->client, &request, &fault), 0);
    assert_int_equal(result->calls, calls);
}

static void wait_for(struct setup *setup, struct result *result, int calls)
{
    int64_t until = clock_now() + PATIENCE;

    while (result->calls < calls && clock_now() < until)
        loop_turn(setup->loop, until);
    assert_int_equal(result->calls, calls);
}

/* One request from the beginning to its end. */
static struct result invoke(struct setup *setup)
{
    struct result result = {0};

    send_body(setup, &result, "{\"a\":1}", 7);
    wait_for(setup, &result, 1);
    return result;
}

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

/* ---- good answers ---- */

static void say_ok(struct peer *peer)
{
    char value[256];

    while (peer_receive(peer)) {
        assert_memory_equal(peer->head, "POST /f HTTP/1.1\r\n", 18);
        assert_false(peer_header(peer, "Expect", value, sizeof value));
        assert_true(peer_header(peer, "Idempotency-Key", value, sizeof value));
        assert_string_equal(value, "orders/3/1");
        if (!peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
            return;
    }
}

static void answered(void **state)
{
    struct setup *setup = begin(say_ok);
    struct result result = invoke(setup);

    assert_int_equal(result.answer.end, HTTP_ANSWERED);
    assert_int_equal(result.answer.status, 200);
    assert_string_equal(result.body, "hello");
    assert_int_equal(result.answer.body_size, 5);
    assert_true(result.answer.duration_us > 0);
    assert_int_equal(result.answer.retry_after_us, 0);
    assert_string_equal(result.answer.function_error, "");
    free(result.body);
    end(setup);
}

static void connection_is_kept(void **state)
{
    struct setup *setup = begin(say_ok);
    struct result result = {0};

    for (int i = 1; i <= 50; i++) {
        send_body(setup, &result, "x", 1);
        wait_for(setup, &result, i);
        assert_int_equal(result.answer.end, HTTP_ANSWERED);
    }
    assert_int_equal(atomic_load(&setup->server->connections), 1);
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
    expect_end(say_nonsense, HTTP_BROKEN, 0, "may have arrived");
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
    free(result.body);
    end(setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered),
        cmocka_unit_test(connection_is_kept),
        cmocka_unit_test(broken),
        cmocka_unit_test(too_large),
    };
    int failed;

    http_client_global_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_client_global_fini();
    return failed;
}
