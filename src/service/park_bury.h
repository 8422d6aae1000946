/* SPDX-License-Identifier: MIT
 * Parked messages made dead letters, by an operator's order: those of a mapping that is gone, or that
 * nobody wants to wait for. */
#ifndef SERVICE_PARK_BURY_H
#define SERVICE_PARK_BURY_H

#include "service/park.h"

#define PARK_BURY_MOST   64 /* at once, so that an order does not take long */
#define PARK_BURY_REASON 256

/* The letter that a parked message becomes; borrowed from the row and the reason. */
void park_bury_letter(const struct parked *parked, char reason[PARK_BURY_REASON],
                      struct dead_letter *ret_letter);

/* What an order came to. */
struct park_burial {
    size_t count;
    size_t unreadable;  /* left where they are; told once nothing else is left that waits */
    struct fault fault; /* why the last of them cannot be read, and the cure */
};

/* Numbers of rows that cannot be read: out of the lot until all else was taken. */
struct park_unreadable {
    int64_t *numbers;
    size_t count, room;
};

void park_unreadable_add(struct park_unreadable *unreadable, int64_t number);
/* They wait again, as before, or until then. */
void park_unreadable_back(struct park_unreadable *unreadable, struct lot *lot, int64_t due_wall_us);

/* Into the state directory; where the mapping's letters go elsewhere: publisher_bury. Buries what waits in
 * the mapping's lot, due or not, at most so many; what is out at a poller is left to it. Each letter is on
 * the disk before its row goes. 0; or -1 with a fault (some may be buried). Any thread. */
int park_bury(struct park *park, const char *mapping, struct park_burial *ret_burial,
              struct fault *fault);

#endif
