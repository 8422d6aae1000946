/* SPDX-License-Identifier: MIT
 * All that is parked in the service: the store, and a lot for each mapping, whether it runs or not: they
 * outlast reloads, and the removal of their mapping. Any thread. */
#ifndef SERVICE_PARK_H
#define SERVICE_PARK_H

#include <stdint.h>

#include "base/fault.h"
#include "io/parked_store.h"
#include "service/lot.h"

struct park;

/* Opens the store in the state directory and makes a place for everything in it. NULL with a fault. */
struct park *park_open(const char *directory, struct fault *fault);
void park_close(struct park *park); /* NULL is fine */

/* For the recorder, which alone writes. */
struct parked_store *park_store(struct park *park);
const char *park_directory(const struct park *park);
/* A number that no row has had since the service began. */
int64_t park_next_number(struct park *park);
/* The lot of a mapping, made where there is none; it lives as long as the park. */
struct lot *park_lot(struct park *park, const char *mapping);

typedef void (*park_look_fn)(void *argument, const char *mapping, const struct lot_state *state);
/* Calls `look` for every mapping that has something parked. */
void park_look(struct park *park, park_look_fn look, void *argument);

#endif
