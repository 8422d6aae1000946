/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/activation.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST 3

/* ---- what a service manager does ---- */

static char path[] = "/tmp/sluice-activation-XXXXXX";
static unsigned port;

static int tcp_socket(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        _exit(90);
    port = ntohs(address.sin_port);
    return fd;
}

static int unix_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(address.sun_path, path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1))
        _exit(91);
    return fd;
}

/* Puts the sockets to 3, 4, ... and says so. */
static void hand_over(const int *sockets, int count, const char *names, pid_t pid)
{
    char text[32];

    for (int i = 0; i < count; i++)
        fcntl(sockets[i], F_DUPFD, 50); /* out of the way of those below */
    for (int i = 0; i < count; i++)
        dup2(50 + i, FIRST + i);
    snprintf(text, sizeof text, "%d", count);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%d", (int)pid);
    setenv("LISTEN_PID", text, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
}

/* Runs it in a process of its own, as descriptors are what it is about. */
static void in_a_child(void (*check)(void))
{
    pid_t child = fork();
    int status;

    if (!child) {
        close_range(FIRST, 49, 0);
        check();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define DEMAND(condition_)                                                                         \
    do {                                                                                           \
        if (!(condition_)) {                                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition_);                       \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* ---- tests ---- */

static void check_claims(void)
{
    int sockets[] = {tcp_socket(), unix_socket(), tcp_socket()};
    struct activation *activation;
    char listen[64], local[64], text[ACTIVATION_TEXT];
    struct fault fault = {""};
    size_t at = 0;

    snprintf(local, sizeof local, "localhost:%u", port); /* of the last one */
    snprintf(listen, sizeof listen, "unix:%s", path);
    hand_over(sockets, 3, "first:sluice.socket:sluice.socket", getpid());
    activation = activation_take(&fault);
    DEMAND(activation);
    DEMAND(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
    DEMAND(fcntl(4, F_GETFD) & FD_CLOEXEC && fcntl(4, F_GETFL) & O_NONBLOCK);
    DEMAND(activation_claim(activation, "control", "unix:/nowhere") == 0);
    DEMAND(activation_claim(activation, "control", listen) == 4);
    DEMAND(activation_claim(activation, "control", "unix:") == 0);
    DEMAND(activation_claim(activation, "control", listen) == 0);
    DEMAND(activation_claim(activation, "listen", "127.0.0.1:1") == 0);
    DEMAND(activation_claim(activation, "listen", NULL) == 0);
    DEMAND(activation_claim(activation, "first", "127.0.0.1:1") == 3); /* the name counts first */
    DEMAND(activation_unclaimed(activation, &at, text) == 0);
    DEMAND(!strncmp(text, "127.0.0.1:", 10) && strstr(text, "(sluice.socket)"));
    DEMAND(activation_unclaimed(activation, &at, text) < 0);
    DEMAND(activation_claim(activation, "listen", local) == 5);
    activation_free(activation);
    DEMAND(fcntl(5, F_GETFD) >= 0);
}

static void check_unclaimed(void)
{
    int sockets[] = {tcp_socket()};
    struct activation *activation;

    hand_over(sockets, 1, NULL, getpid());
    activation = activation_take(NULL);
    activation_free(activation);
    DEMAND(fcntl(3, F_GETFD) < 0);
}

static void check_strangers(void)
{
    int sockets[] = {tcp_socket()};
    struct activation *activation;

    hand_over(sockets, 1, "listen", getpid() + 1); /* meant for another process */
    activation = activation_take(NULL);
    DEMAND(activation && !activation_claim(activation, "listen", NULL));
    DEMAND(!getenv("LISTEN_FDS"));
    activation_free(activation);
    activation = activation_take(NULL);
    DEMAND(activation);
    activation_free(activation);
}

static void check_no_socket(void)
{
    int sockets[] = {socket(AF_INET, SOCK_STREAM, 0)};
    struct fault fault = {""};

    hand_over(sockets, 1, "listen", getpid());
    DEMAND(!activation_take(&fault) && strstr(fault.text, "listens"));
    sockets[0] = open("/dev/null", O_RDONLY);
    hand_over(sockets, 1, "listen", getpid());
    DEMAND(!activation_take(&fault) && strstr(fault.text, "descriptor 3"));
    setenv("LISTEN_FDS", "17", 1);
    snprintf(fault.text, sizeof fault.text, "%d", (int)getpid());
    setenv("LISTEN_PID", fault.text, 1);
    DEMAND(!activation_take(&fault) && strstr(fault.text, "at most 16"));
}

static void sockets_are_found_by_name_and_address(void **state)
{
    in_a_child(check_claims);
    unlink(path);
}

static void what_nobody_claims_is_closed(void **state)
{
    in_a_child(check_unclaimed);
}

static void those_of_other_processes_are_left(void **state)
{
    in_a_child(check_strangers);
}

static void what_does_not_listen_is_refused(void **state)
{
    in_a_child(check_no_socket);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_found_by_name_and_address),
        cmocka_unit_test(what_nobody_claims_is_closed),
        cmocka_unit_test(those_of_other_processes_are_left),
        cmocka_unit_test(what_does_not_listen_is_refused),
    };

    close(mkstemp(path));
    unlink(path);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
