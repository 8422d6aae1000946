/* SPDX-License-Identifier: MIT
 * Orders for replays, and how far they are, as they go over the control socket. */
#ifndef SERVICE_REPLAY_JSON_H
#define SERVICE_REPLAY_JSON_H

#include <jansson.h>

#include "base/fault.h"
#include "service/replay.h"

/* An order with all that it points to. */
struct replay_order_memory {
    struct replay_order order;
    json_t *json; /* holds the texts */
    char *key;
    const char **ids;
};

/* A new reference; NULL with a fault where a text is not UTF-8. Of `act` only detail and login. */
json_t *replay_order_write(const struct replay_order *order, struct fault *fault);
/* 0, or -1 with a fault that names the member: unknown, of another type, or nothing that chooses letters
 * (`query` or `ids`; an empty `query` chooses all). The act's action, uid and time are left to the caller. */
int replay_order_read(json_t *json, struct replay_order_memory *ret_memory, struct fault *fault);
void replay_order_fini(struct replay_order_memory *memory);

/* Sets the members of a status in an object. */
void replay_status_write(const struct replay_status *status, json_t *object);
/* What an object has of one. */
void replay_status_read(const json_t *object, struct replay_status *ret_status);

#endif
