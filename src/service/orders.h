/* SPDX-License-Identifier: MIT
 * Work that other threads have done by the main thread, and wait for. */
#ifndef SERVICE_ORDERS_H
#define SERVICE_ORDERS_H

#include <stdbool.h>

#include "base/fault.h"

struct orders;

struct orders *orders_new(struct fault *fault); /* NULL with a fault */
/* No thread may be inside orders_call. NULL is fine. */
void orders_free(struct orders *orders);

/* Any thread but the main one: has `work` called by the main thread and returns when it is done. False:
 * it was not called, as the service ends. */
bool orders_call(struct orders *orders, void (*work)(void *argument), void *argument);

/* Main thread: readable while there is something to do; does all of it; lets all waiting calls and
 * those to come fail. */
int orders_fd(const struct orders *orders);
void orders_run(struct orders *orders);
void orders_end(struct orders *orders);

#endif
