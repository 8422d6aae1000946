/* SPDX-License-Identifier: MIT
 * The embedded token store seen by a person's command, beside a running service or without one: reads
 * what is committed, and forgets single tokens. */
#ifndef IO_TOKEN_STORE_LOOK_H
#define IO_TOKEN_STORE_LOOK_H

#include <stdint.h>

#include "base/fault.h"
#include "io/token_store.h"

struct token_look;

/* `write`: to forget. NULL with a fault: none there, not permitted, damaged. One thread, one in a
 * process, and not where the store itself is open. */
struct token_look *token_look_open(const char *directory, int write, struct fault *fault);
void token_look_close(struct token_look *look); /* NULL is fine */

/* 1: recorded, also where it has expired and is not swept out yet; 0: not there; -1 with a fault. */
int token_look_find(struct token_look *look, const char *mapping, const char *token, size_t size,
                    struct token_record *ret_record, struct fault *fault);
/* Durable when it returns: a message with that token is invoked again. As above. */
int token_look_forget(struct token_look *look, const char *mapping, const char *token, size_t size,
                      struct fault *fault);

struct token_look_stats {
    const char *mapping;
    uint64_t tokens; /* recorded, and not swept out yet */
    uint64_t lanes;  /* with a record of what is finished beyond what the source knows */
    int64_t first_wall_us, last_wall_us; /* recorded; 0 without tokens */
    int64_t expires_wall_us;             /* the next */
};
/* For each mapping that ever recorded something, by name. */
int token_look_stats(struct token_look *look,
                     void (*each)(void *argument, const struct token_look_stats *stats),
                     void *argument, struct fault *fault);

#endif
