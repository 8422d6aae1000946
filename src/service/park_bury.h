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

/* Into the state directory; where the mapping's letters go elsewhere: publisher_bury. Buries what waits in
 * the mapping's lot, due or not, at most so many; what is out at a poller is left to it. Each letter is on
 * the disk before its row goes. 0 with their number, or -1 with a fault (some may be buried). Any thread. */
int park_bury(struct park *park, const char *mapping, size_t *ret_count, struct fault *fault);

#endif
