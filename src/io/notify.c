/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/units.h"

#define TEXT_MOST 4096

/* Fills in the address of $NOTIFY_SOCKET; its size, 0 where there is none or it is none of ours. */
static socklen_t find_address(struct sockaddr_un *address)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path ? strlen(path) : 0;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (size < 2 || size >= sizeof address->sun_path || (*path != '/' && *path != '@'))
        return 0;
    memcpy(address->sun_path, path, size);
    if (*path == '@')
        address->sun_path[0] = '\0'; /* abstract: its name has no end but the address's */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
}

int notify_send(const char *format, ...)
{
    struct sockaddr_un address;
    socklen_t size = find_address(&address);
    char text[TEXT_MOST];
    va_list arguments;
    ssize_t sent;
    int fd, reason;

    if (!size)
        return 0;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                  (struct sockaddr *)&address, size);
    reason = errno;
    close(fd);
    errno = reason;
    return sent < 0 ? -1 : 1;
}

int64_t notify_watchdog_us(void)
{
    const char *period = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
    int64_t period_us, pid;

    if (!period || units_parse_integer(period, &period_us) || period_us <= 0)
        return 0;
    if (process && (units_parse_integer(process, &pid) || pid != getpid()))
        return 0;
    return period_us;
}
