/* SPDX-License-Identifier: MIT
 * The HTTP client against a server that does what it is told. How requests end that go wrong: test_http_end.c. */
#define _GNU_SOURCE
#include "io/http_client.h"

#include <fcntl.h>

#include "http_test_setup.h"
#include "io/http_end.h"

/* ---- good answers ---- */

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

/* ---- what answers carry ---- */

static void say_503(struct peer *peer)
{
    while (peer_receive(peer))
        if (!peer_say(peer, "HTTP/1.1 103 Early Hints\r\nRetry-After: 900\r\n"
                            "X-Amz-Function-Error: early\r\n\r\n"
                            "HTTP/1.1 503 Service Unavailable\r\nretry-after:  17 \r\n"
                            "Content-Length: 4\r\n\r\nbusy"))
            return;
}

static void say_function_error(struct peer *peer)
{
    while (peer_receive(peer))
        if (!peer_say(peer, "HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
            return;
}

static void headers_of_answers(void **state)
{
    struct setup *setup = begin(say_503);
    struct result result = invoke(setup);

    assert_int_equal(result.answer.end, HTTP_ANSWERED);
    assert_int_equal(result.answer.status, 503);
    assert_int_equal(result.answer.retry_after_us, 17 * CLOCK_SECOND);
    assert_string_equal(result.answer.function_error, "");
    assert_string_equal(result.body, "busy");
    free(result.body);
    end(setup);
    setup = begin(say_function_error);
    result = invoke(setup);
    assert_int_equal(result.answer.status, 200);
    assert_int_equal(result.answer.retry_after_us, 0);
    assert_string_equal(result.answer.function_error, "Unhandled");
    assert_string_equal(result.body, "{}");
    free(result.body);
    end(setup);
}

static void retry_after_forms(void **state)
{
    static const int64_t now = INT64_C(784111777) * CLOCK_SECOND + 250000; /* 08:49:37.25 */
    static const struct {
        const char *value;
        int64_t wanted_us;
    } rows[] = {
        {"0", 0},
        {"17", 17 * CLOCK_SECOND},
        {"  17  ", 17 * CLOCK_SECOND},
        {"86400", CLOCK_DAY},
        {"86401", CLOCK_DAY},
        {"99999999999999999999999", CLOCK_DAY},
        {"-1", 0},
        {"1.5", 0},
        {"17 s", 0},
        {"soon", 0},
        {"", 0},
        {"Sun, 06 Nov 1994 08:50:10 GMT", 32750 * CLOCK_MS},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:00:00 GMT", 0},
        {"Sunday, 06-Nov-94 08:50:10 GMT", 32750 * CLOCK_MS},
        {"Sun Nov  6 08:50:10 1994", 32750 * CLOCK_MS},
        {"Mon, 06 Nov 2090 08:50:10 GMT", CLOCK_DAY},
        {"Sun, 99 Nov 1994 08:50:10 GMT", 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (http_end_retry_after(rows[i].value, now) != rows[i].wanted_us)
            fail_msg("%s: %lld", rows[i].value,
                     (long long)http_end_retry_after(rows[i].value, now));
}

/* ---- what is sent ---- */

static char seen[4096];
static size_t seen_body;

static void remember(struct peer *peer)
{
    while (peer_receive(peer)) {
        bool right = true;

        for (size_t i = 0; i < peer->body_size; i++)
            right &= peer->body[i] == (char)(i * 31 >> 3);
        snprintf(seen, sizeof seen, "%s", peer->head);
        seen_body = right ? peer->body_size : 1234567;
        if (!peer_say(peer, "HTTP/1.1 204 No Content\r\n\r\n"))
            return;
    }
}

static void bodies_of_all_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 1048576, 1048577, 5000000};
    struct setup *setup = begin(remember);
    struct result result = {0};
    char *body = malloc(5000000);

    for (size_t i = 0; i < 5000000; i++)
        body[i] = (char)(i * 31 >> 3);
    for (int i = 0; i < 8; i++) {
        send_body(setup, &result, sizes[i] ? body : NULL, sizes[i]);
        wait_for(setup, &result, i + 1);
        assert_int_equal(result.answer.end, HTTP_ANSWERED);
        assert_true(result.answer.duration_us <
                    900 * CLOCK_MS); /* curl's wait for `100 Continue` */
        assert_int_equal(seen_body, sizes[i]);
        assert_null(strcasestr(seen, "Expect:"));
        assert_null(strcasestr(seen, "x-www-form-urlencoded"));
    }
    assert_int_equal(atomic_load(&setup->server->connections), 1);
    free(body);
    free(result.body);
    end(setup);
}

/* The function says no before it has read the body, and closes. */
static void refuse_early(struct peer *peer)
{
    char block[1000];

    peer_read(peer, block, sizeof block);
    peer_say(peer, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
                   "Content-Length: 0\r\n\r\n");
}

static void early_answer(void **state)
{
    struct setup *setup = begin(refuse_early);
    struct result result = {0};
    char *body = calloc(1, 5000000);

    send_body(setup, &result, body, 5000000);
    wait_for(setup, &result, 1);
    if (result.answer.end == HTTP_ANSWERED)
        assert_int_equal(result.answer.status, 413);
    else /* the reset may overtake the answer */
        assert_int_equal(result.answer.end, HTTP_BROKEN);
    free(body);
    free(result.body);
    end(setup);
}

static void unix_socket(void **state)
{
    char directory[] = "/tmp/sluice-test-XXXXXX", path[64];
    struct server *server;
    struct setup *setup;
    struct result result;

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s", directory);
    server = server_start(say_ok, NULL, path);
    setup = begin_url("http://function/f");
    setup->settings.unix_socket = path;
    result = invoke(setup);
    assert_int_equal(result.answer.end, HTTP_ANSWERED);
    free(result.body);
    end(setup);
    server_stop(server);
    unlink(path);
    rmdir(directory);
}

/* ---- many at once ---- */

struct flood {
    struct setup *setup;
    int left, flying, failed;
};

static void flood_done(void *argument, const struct http_answer *answer);

static void flood_send(struct flood *flood)
{
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Idempotency-Key: orders/3/1"};
    struct http_request request = {"{}", 2, headers, 2, flood_done, flood};

    flood->left--;
    flood->flying++;
    assert_int_equal(http_client_send(flood->setup->client, &request, NULL), 0);
}

static void flood_done(void *argument, const struct http_answer *answer)
{
    struct flood *flood = argument;

    flood->flying--;
    flood->failed += answer->end != HTTP_ANSWERED || answer->body_size != 5;
    if (flood->left)
        flood_send(flood);
}

static void many_in_flight(void **state)
{
    struct setup *setup = begin(say_ok);
    struct flood flood = {.setup = setup, .left = 3000};
    int64_t until = clock_now() + PATIENCE;

    open_client(setup);
    for (int i = 0; i < 64; i++)
        flood_send(&flood);
    while (flood.flying && clock_now() < until)
        loop_turn(setup->loop, until);
    assert_int_equal(flood.left + flood.flying, 0);
    assert_int_equal(flood.failed, 0);
    assert_int_equal(atomic_load(&setup->server->requests), 3000);
    assert_int_equal(atomic_load(&setup->server->connections), 64);
    end(setup);
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void freeing_abandons(void **state)
{
    int before = open_descriptors();
    struct setup *setup = begin(say_nothing);
    struct result result = {0};
    int64_t until = clock_now() + PATIENCE;

    for (int i = 0; i < 3; i++)
        send_body(setup, &result, "x", 1);
    while (atomic_load(&setup->server->requests) < 2 && clock_now() < until)
        loop_turn(setup->loop, clock_now() + CLOCK_MS);
    send_body(setup, &result, "x", 1);
    end(setup);
    assert_int_equal(result.calls, 0);
    assert_int_equal(open_descriptors(), before);
}

/* ---- requests that are refused ---- */

static void headers_with_line_breaks_are_refused(void **state)
{
    static const char *const headers[] = {"Idempotency-Key: a\r\nX: b"};
    struct setup *setup = begin_url("http://127.0.0.1:1/");
    struct result result = {0};
    struct http_request request = {"", 0, headers, 1, note, &result};
    struct fault fault;

    open_client(setup);
    assert_int_equal(http_client_send(setup->client, &request, &fault), -1);
    assert_non_null(strstr(fault.text, "line break"));
    assert_int_equal(result.calls, 0);
    end(setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered),
        cmocka_unit_test(connection_is_kept),
        cmocka_unit_test(headers_of_answers),
        cmocka_unit_test(retry_after_forms),
        cmocka_unit_test(bodies_of_all_sizes),
        cmocka_unit_test(early_answer),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(many_in_flight),
        cmocka_unit_test(freeing_abandons),
        cmocka_unit_test(headers_with_line_breaks_are_refused),
    };
    int failed;

    http_client_global_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_client_global_fini();
    return failed;
}
