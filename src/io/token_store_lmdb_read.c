/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/token_store_lmdb.h"

static struct token_store_lmdb_reader *of(struct token_reader *reader)
{
    return (struct token_store_lmdb_reader *)reader;
}

struct token_reader *token_store_lmdb_reader_new(struct token_store *base, struct fault *fault)
{
    struct token_store_lmdb *store = (struct token_store_lmdb *)base;
    struct token_store_lmdb_reader *reader = memory_zero(1, sizeof *reader);
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &reader->txn);

    if (code) {
        free(reader);
        token_store_lmdb_fault(store, code, "cannot begin to read", fault);
        return NULL;
    }
    mdb_txn_reset(reader->txn);
    reader->store = store;
    pthread_mutex_lock(&store->readers_mutex);
    reader->next = store->readers;
    store->readers = reader;
    pthread_mutex_unlock(&store->readers_mutex);
    return (struct token_reader *)reader;
}

void token_store_lmdb_reader_free(struct token_reader *base)
{
    struct token_store_lmdb_reader *reader = of(base);
    struct token_store_lmdb_reader **at;

    if (!reader)
        return;
    pthread_mutex_lock(&reader->store->readers_mutex);
    for (at = &reader->store->readers; *at != reader; at = &(*at)->next)
        ;
    *at = reader->next;
    pthread_mutex_unlock(&reader->store->readers_mutex);
    mdb_txn_abort(reader->txn);
    free(reader->mapping);
    free(reader);
}

int token_store_lmdb_reader_begin(struct token_reader *base, struct fault *fault)
{
    struct token_store_lmdb_reader *reader = of(base);

    (void)fault;
    /* From here on no filter that this reader can see is freed. */
    atomic_store(&reader->active, atomic_load(&reader->store->epoch));
    return 0;
}

/* Most look-ups end at the filters, which know more than any state that is read after them: so LMDB is
 * asked for one only with the first that does not. */
static int begin_reading(struct token_store_lmdb_reader *reader, struct fault *fault)
{
    int code = reader->reading ? 0 : mdb_txn_renew(reader->txn);

    reader->reading = !code;
    return code ? token_store_lmdb_fault(reader->store, code, "cannot begin to read", fault) : 0;
}

void token_store_lmdb_reader_end(struct token_reader *base)
{
    struct token_store_lmdb_reader *reader = of(base);

    if (reader->reading)
        mdb_txn_reset(reader->txn);
    reader->reading = false;
    atomic_store(&reader->active, 0);
}

/* 1 with the mapping's number, 0 where nothing was ever recorded for it, -1 with a fault. Numbers
 * never change, so the last one is kept. */
static int resolve(struct token_store_lmdb_reader *reader, const char *mapping,
                   uint16_t *ret_number, struct fault *fault)
{
    MDB_val key, value;
    int code;

    if (!reader->mapping || strcmp(reader->mapping, mapping) != 0) {
        if (!*mapping || strlen(mapping) > TOKEN_STORE_LMDB_KEY)
            return 0;
        if (begin_reading(reader, fault))
            return -1;
        key.mv_data = (void *)mapping;
        key.mv_size = strlen(mapping);
        code = mdb_get(reader->txn, reader->store->mappings_dbi, &key, &value);
        if (code == MDB_NOTFOUND)
            return 0;
        if (!code && value.mv_size != sizeof reader->mapping_number)
            code = MDB_CORRUPTED;
        if (code)
            return token_store_lmdb_fault(reader->store, code, "cannot look up a mapping", fault);
        memcpy(&reader->mapping_number, value.mv_data, sizeof reader->mapping_number);
        free(reader->mapping);
        reader->mapping = memory_text(mapping);
    }
    *ret_number = reader->mapping_number;
    return 1;
}

static void fill(struct token_record *record, const MDB_val *value)
{
    const size_t head_size = sizeof(struct token_store_lmdb_value);
    size_t place_size = value->mv_size - head_size;

    if (place_size > sizeof record->place - 1)
        place_size = sizeof record->place - 1;
    /* Values are not aligned. */
    memcpy(record->fingerprint, value->mv_data, sizeof record->fingerprint);
    memcpy(&record->recorded_wall_us,
           (const char *)value->mv_data + offsetof(struct token_store_lmdb_value, recorded_wall_us),
           sizeof record->recorded_wall_us);
    memcpy(record->place, (const char *)value->mv_data + head_size, place_size);
    record->place[place_size] = '\0';
}

int token_store_lmdb_find_token(struct token_reader *base, const char *mapping, const char *token,
                                size_t token_size, int64_t wall_us, struct token_record *ret_record,
                                struct fault *fault)
{
    struct token_store_lmdb_reader *reader = of(base);
    struct token_store_lmdb *store = reader->store;
    unsigned char bytes[TOKEN_STORE_LMDB_KEY];
    int64_t best = wall_us; /* the copy that lasts longest counts, and only unexpired ones */
    MDB_val key, value;
    uint16_t number;
    uint64_t hash;
    int code, found = 0;

    code = resolve(reader, mapping, &number, fault);
    if (code <= 0)
        return code;
    key.mv_size = token_store_lmdb_key(number, token, token_size, bytes);
    key.mv_data = bytes;
    hash = token_store_lmdb_hash(bytes, key.mv_size);
    for (unsigned i = 0; i < TOKEN_STORE_LMDB_SLOTS; i++) {
        const struct token_store_filter *filter = atomic_load(&store->filters[i]);
        int64_t expires;

        if (!filter || !token_store_filter_maybe(filter, hash))
            continue;
        if (begin_reading(reader, fault))
            return -1;
        code = mdb_get(reader->txn, store->slot_dbi[i], &key, &value);
        if (code == MDB_NOTFOUND)
            continue;
        if (!code && value.mv_size < sizeof(struct token_store_lmdb_value))
            code = MDB_CORRUPTED;
        if (code)
            return token_store_lmdb_fault(store, code, "cannot look up a token", fault);
        memcpy(&expires,
               (const char *)value.mv_data +
                   offsetof(struct token_store_lmdb_value, expires_wall_us),
               sizeof expires);
        if (expires <= best)
            continue;
        best = expires;
        found = 1;
        fill(ret_record, &value);
    }
    if (found) {
        ret_record->mapping = mapping;
        ret_record->token = token;
        ret_record->token_size = token_size;
        ret_record->expires_wall_us = best;
    }
    return found;
}

int token_store_lmdb_find_lane(struct token_reader *base, const char *mapping, const char *lane,
                               int64_t wall_us, void *ret_value, size_t room, size_t *ret_size,
                               struct fault *fault)
{
    struct token_store_lmdb_reader *reader = of(base);
    unsigned char bytes[TOKEN_STORE_LMDB_KEY];
    MDB_val key, value;
    int64_t expires;
    uint16_t number;
    size_t size;
    int code = resolve(reader, mapping, &number, fault);

    if (code <= 0)
        return code;
    if (begin_reading(reader, fault))
        return -1;
    key.mv_size = token_store_lmdb_key(number, lane, strlen(lane), bytes);
    key.mv_data = bytes;
    code = mdb_get(reader->txn, reader->store->lanes_dbi, &key, &value);
    if (code == MDB_NOTFOUND)
        return 0;
    if (!code && value.mv_size < sizeof expires)
        code = MDB_CORRUPTED;
    if (code)
        return token_store_lmdb_fault(reader->store, code, "cannot look up a lane", fault);
    memcpy(&expires, value.mv_data, sizeof expires);
    if (expires <= wall_us)
        return 0;
    size = value.mv_size - sizeof expires;
    if (size < room)
        room = size;
    if (room)
        memcpy(ret_value, (const char *)value.mv_data + sizeof expires, room);
    *ret_size = size;
    return 1;
}
