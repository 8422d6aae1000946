/* SPDX-License-Identifier: MIT
 * Against a socket that is what systemd's is. */
#define _GNU_SOURCE
#include "io/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* Listens at the name, `@` for abstract, and makes it $NOTIFY_SOCKET. */
static int open_manager(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, name);
    if (*name == '@')
        address.sun_path[0] = '\0';
    else
        size++;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect(int fd, const char *wanted)
{
    char text[8192];
    ssize_t size = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

    assert_true(size >= 0);
    text[size] = '\0';
    assert_string_equal(text, wanted);
}

static void tells_by_path_and_by_abstract_name(void **state)
{
    char path[64], abstract[64];
    const char *names[] = {path, abstract};

    snprintf(path, sizeof path, "/tmp/sluice-notify-%d", (int)getpid());
    snprintf(abstract, sizeof abstract, "@sluice-notify-%d", (int)getpid());
    for (size_t i = 0; i < 2; i++) {
        int fd = open_manager(names[i]);

        assert_int_equal(notify_send("READY=1\nSTATUS=%d mappings", 2), 1);
        assert_int_equal(notify_send("WATCHDOG=1"), 1);
        expect(fd, "READY=1\nSTATUS=2 mappings");
        expect(fd, "WATCHDOG=1");
        close(fd);
    }
    unlink(path);
}

static void does_without_a_manager(void **state)
{
    static const char *const strange[] = {"", "@", "/", "relative", "vsock:2:1"};
    char longest[200];

    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_send("READY=1"), 0);
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        setenv("NOTIFY_SOCKET", strange[i], 1);
        assert_int_equal(notify_send("READY=1"), 0);
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(notify_send("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "/tmp/sluice-notify-nobody", 1);
    assert_int_equal(notify_send("READY=1"), -1);
}

/* A manager that does not read must not hold the service up. */
static void never_blocks(void **state)
{
    char name[64];
    int fd, result = 1;

    snprintf(name, sizeof name, "@sluice-notify-full-%d", (int)getpid());
    fd = open_manager(name);
    for (int i = 0; i < 100000 && result == 1; i++)
        result = notify_send("WATCHDOG=1");
    assert_int_equal(result, -1);
    close(fd);
}

static void watchdog(void **state)
{
    char pid[16];

    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    assert_int_equal(notify_watchdog_us(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(notify_watchdog_us(), 30000000);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_us(), 30000000);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_us(), 0);
    unsetenv("WATCHDOG_PID");
    setenv("WATCHDOG_USEC", "soon", 1);
    assert_int_equal(notify_watchdog_us(), 0);
    unsetenv("WATCHDOG_USEC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_by_path_and_by_abstract_name),
        cmocka_unit_test(does_without_a_manager),
        cmocka_unit_test(never_blocks),
        cmocka_unit_test(watchdog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
