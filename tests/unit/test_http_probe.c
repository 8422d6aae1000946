/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/http_probe.h"

static void test_urls(void **state)
{
    static const struct {
        const char *url;
        int result;
    } table[] = {
        {"http://localhost", 0},
        {"https://h.example:8443/a/b?c=d", 0},
        {"http://[::1]:80/", 0},
        {"HTTP://host/", 0},
        {"host/path", -1},
        {"ftp://host/", -1},
        {"http://", -1},
        {"http://host:0x1/", -1},
        {"http://host:70000/", -1},
        {"http://u@host/", -1},
        {"http://u:p@host/", -1},
        {"http://host/#f", -1},
        {"http://ho st/", -1},
        {"", -1},
    };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fault fault = {""};

        if (http_probe_url(table[i].url, &fault) != table[i].result)
            fail_msg("%s: %s", table[i].url, fault.text);
        assert_null(strstr(fault.text, ":p@"));
    }
}

static void test_private(void **state)
{
    assert_true(http_probe_is_private("https://far.example/"));
    assert_true(http_probe_is_private("http://127.0.0.1:8080/"));
    assert_true(http_probe_is_private("http://localhost/"));
    assert_true(http_probe_is_private("http://[::1]/"));
    assert_false(http_probe_is_private("http://far.example/"));
}

/* A socket bound to 127.0.0.1 at a port that the kernel chose. */
static int bind_socket(char *url, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(url, size, "http://127.0.0.1:%u/f", ntohs(address.sin_port));
    return fd;
}

static void test_connect(void **state)
{
    char url[64], byte;
    struct http_settings settings = {.url = url, .connect_timeout_us = 5 * CLOCK_SECOND};
    struct fault fault = {""};
    int fd = bind_socket(url, sizeof url), peer;

    assert_int_equal(http_probe_connect(&settings, CLOCK_SECOND, &fault), -1); /* nobody listens */
    assert_non_null(strstr(fault.text, "127.0.0.1:"));
    assert_non_null(strstr(fault.text, " cannot be reached: "));
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(http_probe_connect(&settings, 5 * CLOCK_SECOND, &fault), 0);
    peer = accept(fd, NULL, NULL);
    assert_int_equal(read(peer, &byte, 1), 0); /* not a byte of a request was sent */
    close(peer);
    close(fd);
}

static void test_unix_socket(void **state)
{
    char path[] = "f.sock", url[] = "http://function/f";
    struct http_settings settings = {
        .url = url, .unix_socket = path, .connect_timeout_us = 5 * CLOCK_SECOND};
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "f.sock"};
    struct fault fault = {""};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    unlink(path);
    assert_int_equal(http_probe_connect(&settings, CLOCK_SECOND, &fault), -1);
    assert_non_null(strstr(fault.text, "function:80 at f.sock cannot be reached: "));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(http_probe_connect(&settings, 5 * CLOCK_SECOND, &fault), 0);
    close(fd);
}

static void test_tls_against_plain_http(void **state)
{
    char url[64], secure[80];
    struct http_settings settings = {.url = secure, .connect_timeout_us = 300 * CLOCK_MS};
    struct fault fault = {""};
    int fd = bind_socket(url, sizeof url);

    assert_int_equal(listen(fd, 1), 0);
    snprintf(secure, sizeof secure, "https%s", url + 4);
    assert_int_equal(http_probe_connect(&settings, 5 * CLOCK_SECOND, &fault), -1);
    assert_non_null(strstr(fault.text, " cannot be reached: "));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_tls_against_plain_http),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
