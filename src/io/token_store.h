/* SPDX-License-Identifier: MIT
 * Tokens that were recorded, and what is finished above a lane's watermark, durably. An interface
 * with the embedded store (LMDB) as default, so that a shared store can stand in its place.
 *
 * One writer thread; any number of readers, each on its own thread. What was put is seen by readers
 * after commit returned, and survives kill -9 and power loss from then on. */
#ifndef IO_TOKEN_STORE_H
#define IO_TOKEN_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

#define TOKEN_MAX 1024 /* bytes of a token */

/* One recorded token. */
struct token_record {
    const char *mapping;
    const char *token; /* at most TOKEN_MAX bytes; stored as a SHA-256 where it is long */
    size_t token_size;
    uint64_t fingerprint[2]; /* of the payload, to tell the same token with another payload */
    int64_t recorded_wall_us;
    int64_t expires_wall_us;
    char place[96]; /* lane and position, for people: `orders/3/1507` */
};

/* What is finished of a lane: an opaque value that core/ writes and reads. Replaces the one before. */
struct lane_record {
    const char *mapping;
    const char *lane;
    const void *value; /* NULL: forget the lane */
    size_t value_size;
    int64_t expires_wall_us;
};

struct token_store;
struct token_reader;

struct token_store_ops {
    /* Writer. A failed put or commit leaves everything as after the last commit, with nothing of
     * this transaction, and the store usable: a full disk is tried again later. -1 with a fault. */
    int (*begin)(struct token_store *store, struct fault *fault);
    int (*put_tokens)(struct token_store *store, const struct token_record *records, size_t count,
                      struct fault *fault);
    int (*put_lanes)(struct token_store *store, const struct lane_record *records, size_t count,
                     struct fault *fault);
    int (*commit)(struct token_store *store, struct fault *fault);
    void (*abort)(struct token_store *store);
    /* Drops what expired, a bounded amount per call; outside begin..commit. Returns 1 if there is
     * more to do, 0 if not, -1 with a fault. Called by the writer every few seconds. */
    int (*expire)(struct token_store *store, int64_t wall_us, struct fault *fault);

    /* Reader: make and free on the thread that uses it. */
    struct token_reader *(*reader_new)(struct token_store *store, struct fault *fault);
    void (*reader_free)(struct token_reader *reader);
    /* Between reader_begin and reader_end all that is found is of one state; keep it short. */
    int (*reader_begin)(struct token_reader *reader, struct fault *fault);
    void (*reader_end)(struct token_reader *reader);
    /* 1 found (record filled; its strings point to the arguments), 0 not there or expired, -1 with
     * a fault (then the caller must not treat it as absent). */
    int (*find_token)(struct token_reader *reader, const char *mapping, const char *token,
                      size_t token_size, int64_t wall_us, struct token_record *ret_record,
                      struct fault *fault);
    /* 1 found: up to `room` bytes copied, whole size in *ret_size. 0, -1 as above. */
    int (*find_lane)(struct token_reader *reader, const char *mapping, const char *lane,
                     int64_t wall_us, void *ret_value, size_t room, size_t *ret_size,
                     struct fault *fault);
    void (*close)(struct token_store *store);
};

/* Implementations embed this as their first member. */
struct token_store {
    const struct token_store_ops *ops;
};

/* Opens or makes the embedded store in `directory` (made with 0700 if missing) for this process
 * alone: another running sluice there is refused by name and pid. Refuses a store of a newer
 * version, an unwritable directory and so on with a fault that names path and cure.
 * `map_bytes`: how large the file may grow. `ttl_us`: the longest ttl of any mapping, which sets the
 * width of the time buckets. */
struct token_store *token_store_lmdb_open(const char *directory, size_t map_bytes, int64_t ttl_us,
                                          struct fault *fault);
/* For tests and `state: memory`: forgets everything at the end of the process. */
struct token_store *token_store_memory_open(void);

#endif
