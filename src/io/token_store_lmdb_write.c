/* SPDX-License-Identifier: MIT
 * Collecting a transaction in memory, then writing it in the order of its keys. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/token_store_lmdb.h"

#define PENDING_LANE UINT16_MAX
/* More would make LMDB 0.9.24 spill pages, which it leaks (ITS#9155). */
#define PENDING_MOST  50000
#define LANE_MOST     ((size_t)64 << 20)
#define BUCKETS_AHEAD 16 /* a farther expiry goes to a wider bucket */
#define NAMES_MOST    UINT16_MAX

static struct token_store_lmdb *of(struct token_store *base)
{
    return (struct token_store_lmdb *)base;
}

static void forget_staged(struct token_store_lmdb *store)
{
    while (store->name_staged > store->name_count)
        free(store->names[--store->name_staged].name);
    memcpy(store->staged, store->slots, sizeof store->staged);
    store->pending_count = 0;
    buffer_reset(&store->bytes);
}

int token_store_lmdb_begin(struct token_store *base, struct fault *fault)
{
    forget_staged(of(base));
    return 0;
}

void token_store_lmdb_abort(struct token_store *base)
{
    forget_staged(of(base));
}

static int number_of(struct token_store_lmdb *store, const char *mapping, uint16_t *ret_number,
                     struct fault *fault)
{
    for (size_t i = 0; i < store->name_staged; i++) {
        if (strcmp(store->names[i].name, mapping) == 0) {
            *ret_number = store->names[i].number;
            return 0;
        }
    }
    if (!*mapping || strlen(mapping) > TOKEN_STORE_LMDB_KEY)
        return fault_set(fault, "%s: a mapping's name must have 1 to %d bytes", store->path,
                         TOKEN_STORE_LMDB_KEY);
    if (store->name_staged >= NAMES_MOST)
        return fault_set(fault,
                         "%s: tokens of %d mappings were recorded here, more do not fit; stop "
                         "sluice and move the file away (recorded tokens are forgotten then)",
                         store->path, NAMES_MOST);
    if (store->name_staged == store->name_room) {
        store->name_room = store->name_room ? store->name_room * 2 : 16;
        store->names = memory_resize(store->names, store->name_room, sizeof *store->names);
    }
    store->names[store->name_staged] = (struct token_store_lmdb_name){
        .name = memory_text(mapping), .number = (uint16_t)store->name_staged};
    *ret_number = store->names[store->name_staged++].number;
    return 0;
}

/* The slot for tokens that expire at `expires`. Where all are taken, the one that is emptied
 * soonest after `expires`, and where there is none, the last one is made to stay longer. */
static unsigned slot_for(struct token_store_lmdb *store, int64_t recorded, int64_t expires)
{
    struct token_store_lmdb_slot *slots = store->staged;
    unsigned vacant = TOKEN_STORE_LMDB_SLOTS, later = TOKEN_STORE_LMDB_SLOTS, last = 0;
    int64_t width = store->width_us, start;

    while (width < INT64_MAX / 4 && (expires - recorded) / width > BUCKETS_AHEAD)
        width *= 2;
    start = expires - expires % width;
    for (unsigned i = 0; i < TOKEN_STORE_LMDB_SLOTS; i++) {
        if (!slots[i].end_us) {
            if (vacant == TOKEN_STORE_LMDB_SLOTS)
                vacant = i;
            continue;
        }
        if (slots[i].start_us == start && slots[i].end_us > expires)
            return i;
        if (slots[i].end_us > expires &&
            (later == TOKEN_STORE_LMDB_SLOTS || slots[i].end_us < slots[later].end_us))
            later = i;
        if (slots[i].end_us > slots[last].end_us)
            last = i;
    }
    if (vacant < TOKEN_STORE_LMDB_SLOTS) {
        slots[vacant].start_us = start;
        slots[vacant].end_us = start > INT64_MAX - width ? INT64_MAX : start + width;
        return vacant;
    }
    if (later < TOKEN_STORE_LMDB_SLOTS)
        return later;
    slots[last].end_us = expires < INT64_MAX ? expires + 1 : expires;
    return last;
}

static struct token_store_lmdb_pending *pend(struct token_store_lmdb *store, size_t more_bytes,
                                             struct fault *fault)
{
    struct token_store_lmdb_pending *pending;

    if (store->pending_count >= PENDING_MOST || !buffer_reserve(&store->bytes, more_bytes)) {
        fault_set(fault, "%s: more than %d records or %zu MiB in one transaction", store->path,
                  PENDING_MOST, TOKEN_STORE_LMDB_BYTES >> 20);
        return NULL;
    }
    if (store->pending_count == store->pending_room) {
        store->pending_room = store->pending_room ? store->pending_room * 2 : 1024;
        store->pending = memory_resize(store->pending, store->pending_room, sizeof *store->pending);
    }
    pending = &store->pending[store->pending_count];
    *pending = (struct token_store_lmdb_pending){.at = store->bytes.size,
                                                 .order = (uint32_t)store->pending_count};
    store->pending_count++;
    return pending;
}

static void pend_key(struct token_store_lmdb *store, struct token_store_lmdb_pending *pending,
                     const unsigned char *key, size_t size)
{
    unsigned char first[8] = {0};

    memcpy(first, key, size < sizeof first ? size : sizeof first);
    pending->prefix = 0;
    for (unsigned i = 0; i < sizeof first; i++)
        pending->prefix = pending->prefix << 8 | first[i];
    pending->key_size = (uint16_t)size;
    pending->hash = token_store_lmdb_hash(key, size);
    buffer_add(&store->bytes, key, size);
}

static int pend_tokens(struct token_store_lmdb *store, const struct token_record *records,
                       size_t count, struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        const struct token_record *record = &records[i];
        struct token_store_lmdb_value head = {
            .fingerprint = {record->fingerprint[0], record->fingerprint[1]},
            .recorded_wall_us = record->recorded_wall_us,
            .expires_wall_us = record->expires_wall_us};
        size_t place_size = strnlen(record->place, sizeof record->place);
        unsigned char key[TOKEN_STORE_LMDB_KEY];
        struct token_store_lmdb_pending *pending;
        uint16_t number;

        if (record->token_size > TOKEN_MAX || record->expires_wall_us <= 0)
            return fault_set(fault, "%s: a token of %zu bytes (at most %d), expiring at %lld",
                             store->path, record->token_size, TOKEN_MAX,
                             (long long)record->expires_wall_us);
        if (number_of(store, record->mapping, &number, fault) != 0)
            return -1;
        pending = pend(store, sizeof key + sizeof head + place_size, fault);
        if (!pending)
            return -1;
        pend_key(store, pending, key,
                 token_store_lmdb_key(number, record->token, record->token_size, key));
        pending->target =
            (uint16_t)slot_for(store, record->recorded_wall_us, record->expires_wall_us);
        pending->value_size = (uint32_t)(sizeof head + place_size);
        buffer_add(&store->bytes, &head, sizeof head);
        buffer_add(&store->bytes, record->place, place_size);
    }
    return 0;
}

static int pend_lanes(struct token_store_lmdb *store, const struct lane_record *records,
                      size_t count, struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        const struct lane_record *record = &records[i];
        unsigned char key[TOKEN_STORE_LMDB_KEY];
        struct token_store_lmdb_pending *pending;
        uint16_t number;

        if (record->value && record->value_size > LANE_MOST)
            return fault_set(fault, "%s: the record of lane %s has %zu bytes, at most %zu fit",
                             store->path, record->lane, record->value_size, LANE_MOST);
        if (number_of(store, record->mapping, &number, fault) != 0)
            return -1;
        pending = pend(store, sizeof key + sizeof(int64_t) + record->value_size, fault);
        if (!pending)
            return -1;
        pend_key(store, pending, key,
                 token_store_lmdb_key(number, record->lane, strlen(record->lane), key));
        pending->target = PENDING_LANE;
        pending->forget = !record->value;
        if (pending->forget)
            continue;
        pending->value_size = (uint32_t)(sizeof(int64_t) + record->value_size);
        buffer_add(&store->bytes, &record->expires_wall_us, sizeof(int64_t));
        buffer_add(&store->bytes, record->value, record->value_size);
    }
    return 0;
}

int token_store_lmdb_put_tokens(struct token_store *base, const struct token_record *records,
                                size_t count, struct fault *fault)
{
    if (pend_tokens(of(base), records, count, fault) == 0)
        return 0;
    forget_staged(of(base));
    return -1;
}

int token_store_lmdb_put_lanes(struct token_store *base, const struct lane_record *records,
                               size_t count, struct fault *fault)
{
    if (pend_lanes(of(base), records, count, fault) == 0)
        return 0;
    forget_staged(of(base));
    return -1;
}

static int compare_pending(const void *left, const void *right, void *argument)
{
    const struct token_store_lmdb_pending *a = left, *b = right;
    const char *bytes = argument;
    size_t least = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order;

    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    order = memcmp(bytes + a->at, bytes + b->at, least);
    if (order)
        return order;
    if (a->key_size != b->key_size)
        return a->key_size < b->key_size ? -1 : 1;
    return a->order < b->order ? -1 : 1; /* the later of two puts of one key wins */
}

static bool same_key(const struct token_store_lmdb *store, const struct token_store_lmdb_pending *a,
                     const struct token_store_lmdb_pending *b)
{
    return a->target == b->target && a->prefix == b->prefix && a->key_size == b->key_size &&
           memcmp(store->bytes.data + a->at, store->bytes.data + b->at, a->key_size) == 0;
}

/* Pages that LMDB can use again. Walks the list of free pages: only asked near the limit. */
static size_t free_pages(struct token_store_lmdb *store)
{
    size_t pages = 0, some;
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_txn *txn;

    /* LMDB shows that list (database 0) to reading transactions only. */
    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (mdb_cursor_open(txn, 0, &cursor) == 0) {
        while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
            if (value.mv_size < sizeof some)
                continue;
            memcpy(&some, value.mv_data, sizeof some);
            pages += some;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return pages;
}

/* The map is a little larger than the limit, so that expired buckets can be dropped when it is
 * reached: dropping needs pages too. Puts must leave that reserve alone. */
static int check_room(struct token_store_lmdb *store, struct fault *fault)
{
    size_t limit = store->map_bytes / store->page_bytes;
    size_t wanted = 2 * store->bytes.size / store->page_bytes + 64;
    MDB_envinfo info;

    mdb_env_info(store->env, &info);
    /* Each put may copy the page it lands on, of those that there are. */
    wanted += store->pending_count < info.me_last_pgno ? store->pending_count : info.me_last_pgno;
    if (info.me_last_pgno + wanted > limit && free_pages(store) < wanted)
        return token_store_lmdb_fault(store, MDB_MAP_FULL, NULL, fault);
    return 0;
}

static int put_names_and_slots(struct token_store_lmdb *store, MDB_txn *txn)
{
    MDB_val key, value;
    int code = 0;

    for (size_t i = store->name_count; !code && i < store->name_staged; i++) {
        key = (MDB_val){strlen(store->names[i].name), store->names[i].name};
        value = (MDB_val){sizeof store->names[i].number, &store->names[i].number};
        code = mdb_put(txn, store->mappings_dbi, &key, &value, 0);
    }
    for (unsigned i = 0; !code && i < TOKEN_STORE_LMDB_SLOTS; i++) {
        unsigned char number = (unsigned char)i;

        if (memcmp(&store->staged[i], &store->slots[i], sizeof store->staged[i]) == 0)
            continue;
        key = (MDB_val){1, &number};
        value = (MDB_val){sizeof store->staged[i], &store->staged[i]};
        code = mdb_put(txn, store->slots_dbi, &key, &value, 0);
    }
    return code;
}

/* A new bucket will hold about as many tokens as the fullest one did. */
static size_t expected_keys(struct token_store_lmdb *store)
{
    size_t most = 0;

    for (unsigned i = 0; i < TOKEN_STORE_LMDB_SLOTS; i++) {
        struct token_store_filter *filter = atomic_load(&store->filters[i]);

        if (filter && token_store_filter_count(filter) > most)
            most = token_store_filter_count(filter);
    }
    return most + most / 8;
}

static int put_one(struct token_store_lmdb *store, MDB_txn *txn, MDB_cursor *cursor,
                   const struct token_store_lmdb_pending *pending)
{
    MDB_val key = {pending->key_size, store->bytes.data + pending->at};
    MDB_val value = {pending->value_size, store->bytes.data + pending->at + pending->key_size};
    int code;

    if (pending->forget) {
        code = mdb_del(txn, store->lanes_dbi, &key, NULL);
        return code == MDB_NOTFOUND ? 0 : code;
    }
    if (pending->target == PENDING_LANE)
        return mdb_put(txn, store->lanes_dbi, &key, &value, 0);
    token_store_filter_add(atomic_load(&store->filters[pending->target]), pending->hash);
    return mdb_cursor_put(cursor, &key, &value, 0);
}

static int put_pending(struct token_store_lmdb *store, MDB_txn *txn)
{
    MDB_cursor *cursor = NULL;
    unsigned target = PENDING_LANE;
    int code = 0;

    qsort_r(store->pending, store->pending_count, sizeof *store->pending, compare_pending,
            store->bytes.data);
    for (size_t i = 0; !code && i < store->pending_count; i++) {
        const struct token_store_lmdb_pending *pending = &store->pending[i];

        if (i + 1 < store->pending_count && same_key(store, pending, pending + 1))
            continue; /* only the last one of a key counts */
        if (pending->target != target && pending->target != PENDING_LANE) {
            target = pending->target;
            if (cursor)
                mdb_cursor_close(cursor);
            cursor = NULL;
            code = mdb_cursor_open(txn, store->slot_dbi[target], &cursor);
            if (code)
                break;
            token_store_lmdb_ensure_filter(store, target, expected_keys(store));
        }
        code = put_one(store, txn, cursor, pending);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    return code;
}

int token_store_lmdb_commit(struct token_store *base, struct fault *fault)
{
    struct token_store_lmdb *store = of(base);
    MDB_txn *txn;
    int code;

    if (!store->pending_count)
        return 0;
    if (check_room(store, fault) != 0) {
        forget_staged(store);
        return -1;
    }
    code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code) {
        forget_staged(store);
        return token_store_lmdb_fault(store, code, "cannot begin to write", fault);
    }
    code = put_names_and_slots(store, txn);
    if (!code)
        code = put_pending(store, txn);
    if (code)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn); /* frees the transaction, failed or not */
    if (code) {
        forget_staged(store);
        return token_store_lmdb_fault(store, code, "cannot write", fault);
    }
    memcpy(store->slots, store->staged, sizeof store->slots);
    store->name_count = store->name_staged;
    store->pending_count = 0;
    buffer_reset(&store->bytes);
    return 0;
}
