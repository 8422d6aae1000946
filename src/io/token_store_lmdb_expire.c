/* SPDX-License-Identifier: MIT
 * Emptying buckets whose time has passed, and freeing their filters once no reader can see them. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/token_store_lmdb.h"

#define LANES_AT_ONCE 1000

static uint64_t oldest_active(struct token_store_lmdb *store)
{
    uint64_t oldest = UINT64_MAX;

    pthread_mutex_lock(&store->readers_mutex);
    for (struct token_store_lmdb_reader *reader = store->readers; reader; reader = reader->next) {
        uint64_t active = atomic_load(&reader->active);

        if (active && active < oldest)
            oldest = active;
    }
    pthread_mutex_unlock(&store->readers_mutex);
    return oldest;
}

/* A reader that began in a later epoch than the one in which a filter was taken out of its slot
 * cannot have found it there. */
static void free_retired(struct token_store_lmdb *store)
{
    struct token_store_lmdb_retired **at = &store->retired;
    uint64_t oldest;

    if (!store->retired)
        return;
    oldest = oldest_active(store);
    while (*at) {
        struct token_store_lmdb_retired *retired = *at;

        if (retired->epoch >= oldest) {
            at = &retired->next;
            continue;
        }
        *at = retired->next;
        token_store_filter_free(retired->filter);
        free(retired);
    }
}

static void retire(struct token_store_lmdb *store, unsigned number)
{
    struct token_store_filter *filter = atomic_exchange(&store->filters[number], NULL);
    struct token_store_lmdb_retired *retired;

    if (!filter)
        return;
    retired = memory_zero(1, sizeof *retired);
    retired->filter = filter;
    retired->epoch = atomic_fetch_add(&store->epoch, 1);
    retired->next = store->retired;
    store->retired = retired;
}

static int drop_bucket(struct token_store_lmdb *store, unsigned number, struct fault *fault)
{
    unsigned char name = (unsigned char)number;
    MDB_val key = {1, &name};
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (code)
        return token_store_lmdb_fault(store, code, "cannot begin to expire", fault);
    code = mdb_drop(txn, store->slot_dbi[number], 0);
    if (!code)
        code = mdb_del(txn, store->slots_dbi, &key, NULL);
    if (code)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn);
    if (code)
        return token_store_lmdb_fault(store, code, "cannot drop expired tokens", fault);
    store->slots[number] = store->staged[number] = (struct token_store_lmdb_slot){0};
    /* After the commit: what a reader with an older view misses now has expired anyway. */
    retire(store, number);
    return 0;
}

/* Looks at up to LANES_AT_ONCE lanes from where it stopped last and deletes those that expired.
 * Returns LMDB's code. `lanes_seen_size` is 0 once all were seen. */
static int walk_lanes(struct token_store_lmdb *store, MDB_txn *txn, int64_t wall_us,
                      unsigned *ret_deleted)
{
    MDB_val key = {store->lanes_seen_size, store->lanes_seen}, value;
    unsigned seen = 0, deleted = 0;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, store->lanes_dbi, &cursor);

    if (code)
        return code;
    code = mdb_cursor_get(cursor, &key, &value, key.mv_size ? MDB_SET_RANGE : MDB_FIRST);
    while (!code && seen < LANES_AT_ONCE) {
        int64_t expires = 0;

        if (value.mv_size >= sizeof expires)
            memcpy(&expires, value.mv_data, sizeof expires);
        if (expires <= wall_us) {
            code = mdb_cursor_del(cursor, 0);
            deleted++;
        }
        seen++;
        if (!code)
            code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    store->lanes_seen_size = 0;
    if (!code) {
        memcpy(store->lanes_seen, key.mv_data, key.mv_size);
        store->lanes_seen_size = key.mv_size;
    }
    mdb_cursor_close(cursor);
    *ret_deleted = deleted;
    return code == MDB_NOTFOUND ? 0 : code;
}

static int expire_lanes(struct token_store_lmdb *store, int64_t wall_us, struct fault *fault)
{
    unsigned deleted = 0;
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (code)
        return token_store_lmdb_fault(store, code, "cannot begin to expire", fault);
    code = walk_lanes(store, txn, wall_us, &deleted);
    if (code || !deleted)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn);
    if (code)
        return token_store_lmdb_fault(store, code, "cannot expire lanes", fault);
    return store->lanes_seen_size > 0;
}

int token_store_lmdb_expire(struct token_store *base, int64_t wall_us, struct fault *fault)
{
    struct token_store_lmdb *store = (struct token_store_lmdb *)base;
    int dead;

    mdb_reader_check(store->env, &dead);
    free_retired(store);
    for (unsigned i = 0; i < TOKEN_STORE_LMDB_SLOTS; i++) {
        if (store->slots[i].end_us && store->slots[i].end_us <= wall_us) {
            if (drop_bucket(store, i, fault) != 0)
                return -1;
            free_retired(store);
            return 1;
        }
    }
    return expire_lanes(store, wall_us, fault);
}
