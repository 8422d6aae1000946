/* SPDX-License-Identifier: MIT
 * Where dead letters are kept. An interface; the local store is SQLite (WAL, synchronous=FULL). */
#ifndef IO_DEAD_LETTER_STORE_H
#define IO_DEAD_LETTER_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "core/dead_letter.h"

/* What `ls` and `stats` choose by. Zero or NULL: no restriction. */
struct dead_letter_query {
    const char *mapping;
    const char *class_name;
    uint32_t status;
    int64_t since_wall_us, until_wall_us; /* by dead_wall_us: since <= t < until */
    const char *id_prefix;
    uint32_t limit;
};

struct dead_letter_group {
    const char *value; /* of the field grouped by; valid within the callback */
    uint64_t count;
    int64_t first_wall_us, last_wall_us;
    const char *example_id;
};

struct dead_letter_store;

struct dead_letter_store_ops {
    /* Writes letters in one durable transaction and fills in `id` and `dead_wall_us` (0: now; moved
     * by microseconds where it is taken). A letter whose mapping, lane, position and message (token,
     * key, payload) are already there is updated and keeps its first id and time, not doubled: a
     * crash between writing and settling brings the message again. Another message at the same
     * position, as after a queue was made anew, is a letter of its own. 0, or -1 with a fault and
     * nothing written; ids may have been filled in. */
    int (*add)(struct dead_letter_store *store, struct dead_letter *letters, size_t count,
               struct fault *fault);
    /* Newest first. `each` returns non-zero to stop. Letters are borrowed within the callback;
     * `with_payload` 0 leaves key, payload and headers absent. */
    int (*list)(struct dead_letter_store *store, const struct dead_letter_query *query,
                int with_payload, int (*each)(void *argument, const struct dead_letter *letter),
                void *argument, struct fault *fault);
    /* Groups by `error` (reason with numbers, ids and quoted parts folded), `class`, `status`,
     * `mapping` or `hour`; largest first. -1 with a fault that lists the fields for another one. */
    int (*group)(struct dead_letter_store *store, const struct dead_letter_query *query,
                 const char *field, int (*each)(void *argument, const struct dead_letter_group *),
                 void *argument, struct fault *fault);
    int (*count)(struct dead_letter_store *store, const struct dead_letter_query *query,
                 uint64_t *ret_count, struct fault *fault);
    /* Removes letters of `mapping` that died before `before_wall_us`, at most `most`; returns how
     * many, or -1 with a fault. */
    int64_t (*expire)(struct dead_letter_store *store, const char *mapping, int64_t before_wall_us,
                      uint32_t most, struct fault *fault);
    void (*close)(struct dead_letter_store *store);
};

struct dead_letter_store {
    const struct dead_letter_store_ops *ops;
};

enum dead_letter_access { DEAD_LETTER_READ, DEAD_LETTER_WRITE };

/* Opens `directory`/dead-letters.sqlite; WRITE makes it where missing. A reader works beside a
 * running writer and never makes it wait. NULL with a fault naming path and cure: not there,
 * unreadable, from a newer version, damaged. One connection, one thread. */
struct dead_letter_store *dead_letter_store_sqlite_open(const char *directory,
                                                        enum dead_letter_access access,
                                                        struct fault *fault);

#endif
