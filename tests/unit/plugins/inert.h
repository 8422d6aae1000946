/* SPDX-License-Identifier: MIT
 * Operations that do nothing, for connectors that tests load and do not run. */
#ifndef INERT_H
#define INERT_H

#include <sluice/connector.h>

static int inert_start(void *instance, const char *name)
{
    return 0;
}

static int inert_descriptor(void *instance)
{
    return -1;
}

static int64_t inert_receive(void *instance, const struct sluice_room *room)
{
    return 1000000;
}

static void inert_settle(void *instance, struct sluice_settle_item *items, size_t count)
{
}

static void inert_release(void *instance, void *const *handles, size_t count)
{
}

static void inert_stop(void *instance, int64_t deadline_us)
{
}

/* All of a descriptor's operations but open, close and check. */
#define INERT_OPERATIONS                                                                           \
    .start = inert_start, .descriptor = inert_descriptor, .receive = inert_receive,                \
    .settle = inert_settle, .release = inert_release, .stop = inert_stop

#endif
