/* SPDX-License-Identifier: MIT
 * `sluice status --watch`: a live page on the terminal. */
#ifndef CLI_STATUS_WATCH_H
#define CLI_STATUS_WATCH_H

#include "cli/control.h"

/* Draws the service, or one mapping (NULL: all), once a second until q, Ctrl-C or a signal, and leaves
 * the terminal as it was. Returns an exit code of `sluice status`, or EX_USAGE (said) where standard
 * output is no terminal. Main thread, no other threads. */
int status_watch(const struct control_place *place, const char *mapping);

#endif
