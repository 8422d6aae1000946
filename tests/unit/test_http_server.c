/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static void handle(void *argument, const struct http_server_request *request,
                   struct http_server_answer *ret_answer)
{
    const char *query = http_server_query(request, "q");

    if (!strcmp(request->path, "/huge")) {
        while (!ret_answer->body.full)
            buffer_add_text(&ret_answer->body, "0123456789012345678901234567890123456789");
        return;
    }
    if (strcmp(request->path, "/ok")) {
        ret_answer->status = 404;
        return;
    }
    ret_answer->content_type = "application/json";
    buffer_format(&ret_answer->body, "%s|%s|%zu|%s|", request->method, query ? query : "-",
                  request->body_size, (char *)argument);
    buffer_add(&ret_answer->body, request->body, request->body_size < 20 ? request->body_size : 20);
}

static int connect_to(const struct http_server *server, const char *unix_path)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)http_server_port(server))};
    struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(unix_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (unix_path)
        strcpy(unix_address.sun_path, unix_path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(unix_path ? connect(fd, (struct sockaddr *)&unix_address, sizeof unix_address)
                               : connect(fd, (struct sockaddr *)&address, sizeof address),
                     0);
    return fd;
}

/* Sends raw bytes, and reads until the server closes or the answer has its end. */
static const char *talk(int fd, const char *request, size_t size)
{
    static char answer[65536];
    size_t got = 0;
    ssize_t step = 1;

    while (size) {
        step = send(fd, request, size, MSG_NOSIGNAL);
        if (step < 0)
            break;
        request += step;
        size -= (size_t)step;
    }
    while ((step = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0)
        got += (size_t)step;
    answer[got] = '\0';
    close(fd);
    return answer;
}

static const char *ask(const struct http_server *server, const char *unix_path, const char *request)
{
    return talk(connect_to(server, unix_path), request, strlen(request));
}

static void expect(const struct http_server *server, const char *request, const char *status,
                   const char *part)
{
    const char *answer = ask(server, NULL, request);

    if (!strstr(answer, status) || !strstr(answer, part))
        fail_msg("%s -> %s", request, answer);
}

static struct http_server *try(const char *listen, struct fault *fault)
{
    struct http_server_settings settings = {
        .listen = listen, .handle = handle, .argument = (void *)"arg"};

    return http_server_start(&settings, fault);
}

static struct http_server *start(const char *listen)
{
    struct fault fault = {""};
    struct http_server *server = try(listen, &fault);

    assert_string_equal(fault.text, "");
    assert_non_null(server);
    return server;
}

#define END "Connection: close\r\n\r\n"

static void answers(void **state)
{
    struct http_server *server = start("127.0.0.1:0");
    const char *answer;

    assert_true(http_server_port(server) > 0);
    expect(server, "GET /ok?q=a%20b&x HTTP/1.1\r\nHost: localhost:1\r\n" END, "200 OK",
           "GET|a b|0|arg|");
    expect(server, "GET /%6fk?q HTTP/1.1\r\nHost: 127.0.0.1\r\n" END, "application/json",
           "GET||0|arg|");
    expect(server, "POST /ok HTTP/1.1\r\nHost: [::1]:9\r\nContent-Length: 4\r\n" END "body",
           "200 OK", "POST|-|4|arg|body");
    expect(server, "DELETE /ok HTTP/1.0\r\n\r\n", "200 OK", "DELETE|");
    expect(server, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n" END, "404", "text/plain");
    answer = ask(server, NULL, "HEAD /ok HTTP/1.1\r\nHost: localhost\r\n" END);
    assert_non_null(strstr(answer, "200 OK"));
    assert_null(strstr(answer, "|arg|"));
    expect(server, "GET /huge HTTP/1.1\r\nHost: localhost\r\n" END, "500", "larger than");
    http_server_stop(server);
}

static void web_pages_are_refused(void **state)
{
    struct http_server *server = start("localhost:0");

    expect(server, "GET /ok HTTP/1.1\r\nHost: evil.example\r\n" END, "403", "Host");
    expect(server, "GET /ok HTTP/1.1\r\nHost: localhost.evil.example\r\n" END, "403", "Host");
    expect(server, "GET /ok HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://e\r\n" END, "403", "web");
    http_server_stop(server);
}

static void bad_requests_do_no_harm(void **state)
{
    struct http_server *server = start("127.0.0.1:0");
    size_t size = 2 * HTTP_SERVER_REQUEST;
    char *large = malloc(size + 200), *end;
    int fds[2 * HTTP_SERVER_CONNECTIONS];

    expect(server, "\r\n\r\n\x01\x02\r\n\r\n", "", "");
    expect(server, "GET\r\n\r\n", "", "");
    end =
        large +
        sprintf(large, "POST /ok HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n" END, size);
    memset(end, 'x', size);
    assert_non_null(
        strstr(talk(connect_to(server, NULL), large, (size_t)(end - large) + size), "413"));
    end = large + sprintf(large, "GET /ok HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(end, 'x', 100000);
    memcpy(end + 100000, "\r\n\r\n", 5);
    assert_null(strstr(talk(connect_to(server, NULL), large, strlen(large)), "200 OK"));
    free(large);
    for (size_t i = 0; i < 2 * HTTP_SERVER_CONNECTIONS; i++) /* more than it takes, all idle */
        fds[i] = connect_to(server, NULL);
    for (size_t i = 0; i < 2 * HTTP_SERVER_CONNECTIONS; i++)
        close(fds[i]);
    for (int i = 0; i < 1000; i++) /* until it has noticed that they are gone */
        if (strstr(ask(server, NULL, "GET /ok HTTP/1.0\r\n\r\n"), "200 OK"))
            break;
    expect(server, "GET /ok HTTP/1.0\r\n\r\n", "200 OK", "");
    http_server_stop(server);
}

static void unix_socket(void **state)
{
    char directory[] = "/tmp/sluice-test-XXXXXX", path[64], listen[80];
    struct http_server *server;
    struct fault fault = {""};
    struct sockaddr_un left = {.sun_family = AF_UNIX};
    struct stat what;
    FILE *file;
    int fd;

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s", directory);
    snprintf(listen, sizeof listen, "unix:%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* left by a dead process */
    strcpy(left.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&left, sizeof left), 0);
    close(fd);
    server = start(listen);
    assert_int_equal(http_server_port(server), 0);
    assert_int_equal(stat(path, &what), 0);
    assert_int_equal(what.st_mode & 0777, 0660);
    assert_non_null(
        strstr(ask(server, path, "GET /ok HTTP/1.1\r\nHost: sluice\r\n" END), "200 OK"));
    assert_null(try(listen, &fault));
    assert_non_null(strstr(fault.text, "another process listens"));
    http_server_stop(server);
    assert_int_equal(stat(path, &what), -1);
    file = fopen(path, "w");
    fclose(file);
    assert_null(try(listen, &fault));
    assert_non_null(strstr(fault.text, "not a socket"));
    unlink(path);
    rmdir(directory);
}

static void other_addresses_are_refused(void **state)
{
    static const char *const addresses[] = {"0.0.0.0:0",
                                            "192.0.2.1:80",
                                            "[::]:0",
                                            "[fe80::1]:80",
                                            "*:80",
                                            ":80",
                                            "80",
                                            "",
                                            "example:80",
                                            "127.0.0.1",
                                            "127.0.0.1:",
                                            "127.0.0.1:x",
                                            "127.0.0.1:70000",
                                            "127.0.0.1:-1",
                                            "::1:80"};
    struct http_server *server = start("127.0.0.1:0");
    struct fault fault;
    char taken[32];

    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_null(try(addresses[i], &fault));
        if (!strstr(fault.text, "127.0.0.1:PORT"))
            fail_msg("%s: %s", addresses[i], fault.text);
    }
    assert_null(try("unix:relative", &fault));
    assert_non_null(strstr(fault.text, "absolute path"));
    snprintf(taken, sizeof taken, "127.0.0.1:%u", http_server_port(server));
    assert_null(try(taken, &fault));
    assert_non_null(strstr(fault.text, "already in use"));
    http_server_stop(server);
    http_server_stop(NULL);
}

static bool admit(void *argument, const struct http_server_request *request,
                  struct http_server_answer *ret_answer)
{
    if (http_server_header(request, "X-Pass"))
        return true;
    ret_answer->challenge = "Test";
    buffer_add_text(&ret_answer->body, "no pass\n");
    return false;
}

static void who_is_not_admitted_gets_no_further(void **state)
{
    struct http_server_settings settings = {.listen = "127.0.0.1:0",
                                            .admit = admit,
                                            .handle = handle,
                                            .argument = (void *)"arg"};
    struct fault fault = {""};
    struct http_server *server = http_server_start(&settings, &fault);

    assert_non_null(server);
    expect(server, "POST /ok HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n" END "body",
           "401 Unauthorized", "WWW-Authenticate: Test");
    expect(server, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n" END, "401", "no pass");
    expect(server, "GET /ok HTTP/1.1\r\nHost: evil.example\r\nX-Pass: 1\r\n" END, "403", "Host");
    expect(server, "POST /ok HTTP/1.1\r\nHost: localhost\r\nX-Pass: 1\r\nContent-Length: 4\r\n" END
           "body", "200 OK", "POST|-|4|arg|body");
    http_server_stop(server);
}

static int listening(uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static void a_socket_handed_over_is_served(void **state)
{
    struct http_server_settings settings = {
        .listen = "127.0.0.1:1", .handle = handle, .argument = (void *)"arg"};
    struct fault fault = {""};
    struct http_server *server;
    int kept;

    settings.fd = listening(INADDR_LOOPBACK);
    kept = dup(settings.fd); /* as the service manager does */
    server = http_server_start(&settings, &fault);
    assert_string_equal(fault.text, "");
    expect(server, "GET /ok HTTP/1.0\r\n\r\n", "200 OK", "GET|");
    http_server_stop(server);
    settings.fd = kept; /* it still listens: who connects meanwhile waits */
    server = http_server_start(&settings, &fault);
    expect(server, "GET /ok HTTP/1.0\r\n\r\n", "200 OK", "GET|");
    http_server_stop(server);
    settings.fd = listening(INADDR_ANY);
    assert_null(http_server_start(&settings, &fault));
    assert_non_null(strstr(fault.text, "other machines"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(web_pages_are_refused),
        cmocka_unit_test(bad_requests_do_no_harm),
        cmocka_unit_test(who_is_not_admitted_gets_no_further),
        cmocka_unit_test(a_socket_handed_over_is_served),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(other_addresses_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
