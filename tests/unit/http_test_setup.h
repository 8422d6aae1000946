/* SPDX-License-Identifier: MIT
 * A loop, a client and a scripted server, and one request from its beginning to its end. */
#ifndef HTTP_TEST_SETUP_H
#define HTTP_TEST_SETUP_H

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http_test_server.h"
#include "io/http_client.h"

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

static struct setup *__attribute__((unused)) begin(server_script_fn script)
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

static void __attribute__((unused)) say_ok(struct peer *peer)
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

static void __attribute__((unused)) wait_for_end(struct peer *peer)
{
    char byte;

    while (peer_read(peer, &byte, 1) > 0)
        ;
}

static void __attribute__((unused)) say_nothing(struct peer *peer)
{
    peer_receive(peer);
    wait_for_end(peer);
}

#endif
