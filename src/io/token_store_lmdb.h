/* SPDX-License-Identifier: MIT
 * The embedded token store's inside, shared by its files only.
 *
 * `directory`/tokens.mdb is one LMDB environment, used by one process (`sluice.lock`):
 *   meta      "version" -> text, the format's version
 *   mappings  name -> uint16, numbers that stand for names in keys; never taken back
 *   slots     uint8 -> struct slot_value: which slots are in use as buckets
 *   slot-NN   key -> struct token_value and the place: the tokens of one bucket
 *   lanes     key -> int64 expiry and the lane's value
 * A bucket holds the tokens that expire within [start, end) and is emptied as a whole after that,
 * which costs next to nothing. Its sub-database stays open, so that no reader ever loses a handle.
 * Keys are the mapping's number (big-endian), KEY_PLAIN or KEY_HASHED, and the bytes or their
 * SHA-256. Numbers in values are in the machine's order: LMDB files do not travel either. */
#ifndef IO_TOKEN_STORE_LMDB_H
#define IO_TOKEN_STORE_LMDB_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "io/token_store.h"
#include "io/token_store_filter.h"

#define TOKEN_STORE_LMDB_SLOTS 64
#define TOKEN_STORE_LMDB_KEY   511                 /* LMDB's own limit */
#define TOKEN_STORE_LMDB_BYTES ((size_t)256 << 20) /* keys and values of one transaction */

/* One bucket; `end_us` 0: not in use. */
struct token_store_lmdb_slot {
    int64_t start_us, end_us;
};

struct token_store_lmdb_value {
    uint64_t fingerprint[2];
    int64_t recorded_wall_us;
    int64_t expires_wall_us;
    char place[]; /* not NUL-terminated */
};

/* One put of the transaction that is being collected. */
struct token_store_lmdb_pending {
    size_t at;       /* of key and value in `bytes` */
    uint64_t prefix; /* first bytes of the key, to compare */
    uint64_t hash;
    uint32_t value_size;
    uint16_t key_size;
    uint16_t target; /* slot number, or PENDING_LANE */
    uint32_t order;
    bool forget;
};

struct token_store_lmdb_name {
    char *name;
    uint16_t number;
};

struct token_store_lmdb_reader {
    struct token_store_lmdb *store;
    struct token_store_lmdb_reader *next;
    _Atomic uint64_t active; /* epoch in which it began; 0: not between begin and end */
    MDB_txn *txn;
    bool reading;  /* the transaction has a state */
    char *mapping; /* the last one asked for, and its number */
    uint16_t mapping_number;
};

struct token_store_lmdb_retired {
    struct token_store_lmdb_retired *next;
    struct token_store_filter *filter;
    uint64_t epoch;
};

struct token_store_lmdb {
    struct token_store base;
    MDB_env *env;
    char *path;
    int lock_fd;
    MDB_dbi mappings_dbi, slots_dbi, lanes_dbi;
    MDB_dbi slot_dbi[TOKEN_STORE_LMDB_SLOTS];
    int64_t width_us;
    size_t page_bytes, map_bytes;

    /* Readers and writer. A filter is in place before the first commit that needs it. */
    _Atomic(struct token_store_filter *) filters[TOKEN_STORE_LMDB_SLOTS];
    _Atomic uint64_t epoch;
    pthread_mutex_t readers_mutex; /* guards the list, not the readers */
    struct token_store_lmdb_reader *readers;

    /* Writer. `slots` and the first `name_count` names are committed, `staged` and the names after
     * them are what the collected transaction would make of them. */
    struct token_store_filter_budget budget;
    struct token_store_lmdb_retired *retired;
    struct token_store_lmdb_slot slots[TOKEN_STORE_LMDB_SLOTS], staged[TOKEN_STORE_LMDB_SLOTS];
    struct token_store_lmdb_name *names;
    size_t name_count, name_staged, name_room;
    struct token_store_lmdb_pending *pending;
    size_t pending_count, pending_room;
    struct buffer bytes;
    unsigned char lanes_seen[TOKEN_STORE_LMDB_KEY]; /* where the expiry of lanes goes on */
    size_t lanes_seen_size;
};

/* The key of a token or lane. Returns its size. */
size_t token_store_lmdb_key(uint16_t mapping, const void *bytes, size_t size,
                            unsigned char ret_key[TOKEN_STORE_LMDB_KEY]);
uint64_t token_store_lmdb_hash(const void *key, size_t size);
/* Says what LMDB's `code` means for people, with the path and the cure. Returns -1. */
int token_store_lmdb_fault(const struct token_store_lmdb *store, int code, const char *what,
                           struct fault *fault);
/* Gives slot `number` a filter if it has none. */
void token_store_lmdb_ensure_filter(struct token_store_lmdb *store, unsigned number,
                                    size_t expected);

/* token_store_lmdb_write.c */
int token_store_lmdb_begin(struct token_store *base, struct fault *fault);
int token_store_lmdb_put_tokens(struct token_store *base, const struct token_record *records,
                                size_t count, struct fault *fault);
int token_store_lmdb_put_lanes(struct token_store *base, const struct lane_record *records,
                               size_t count, struct fault *fault);
int token_store_lmdb_commit(struct token_store *base, struct fault *fault);
void token_store_lmdb_abort(struct token_store *base);

/* token_store_lmdb_expire.c */
int token_store_lmdb_expire(struct token_store *base, int64_t wall_us, struct fault *fault);

/* token_store_lmdb_read.c */
struct token_reader *token_store_lmdb_reader_new(struct token_store *base, struct fault *fault);
void token_store_lmdb_reader_free(struct token_reader *reader);
int token_store_lmdb_reader_begin(struct token_reader *reader, struct fault *fault);
void token_store_lmdb_reader_end(struct token_reader *reader);
int token_store_lmdb_find_token(struct token_reader *reader, const char *mapping, const char *token,
                                size_t token_size, int64_t wall_us, struct token_record *ret_record,
                                struct fault *fault);
int token_store_lmdb_find_lane(struct token_reader *reader, const char *mapping, const char *lane,
                               int64_t wall_us, void *ret_value, size_t room, size_t *ret_size,
                               struct fault *fault);

#endif
