/* SPDX-License-Identifier: MIT
 * Tells the service manager how the service is: sd_notify(3), without libsystemd, which would bring
 * five more libraries into the process. Nothing happens where $NOTIFY_SOCKET is not set. */
#ifndef IO_NOTIFY_H
#define IO_NOTIFY_H

#include <stdint.h>

/* Sends assignments such as `READY=1\nSTATUS=running`, at most 4 KiB, in one datagram. Control
 * characters but newlines are left to the caller. Any thread; never blocks. 1: sent; 0: nobody to
 * tell; -1 with errno: it could not be sent. */
int notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How often at least the service manager wants to hear WATCHDOG=1, from $WATCHDOG_USEC; 0: never, also
 * where $WATCHDOG_PID names another process. */
int64_t notify_watchdog_us(void);

#endif
