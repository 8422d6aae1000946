/* SPDX-License-Identifier: MIT
 * A token store that forgets at the end of the process: the contract of the embedded one, by a hash
 * table under one lock. */
#include "io/token_store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/memory.h"

#define FIRST_CHAINS   1024 /* a power of two */
#define CHAINS_AT_ONCE 4096 /* looked through by one expire */
#define PENDING_MOST   50000

enum kind { KIND_TOKEN, KIND_LANE };

/* A token or lane; the key is `mapping`, NUL, the bytes. */
struct entry {
    struct entry *next;
    uint64_t hash;
    enum kind kind;
    bool forget;
    uint64_t fingerprint[2];
    int64_t recorded_wall_us, expires_wall_us;
    char place[sizeof((struct token_record *)0)->place];
    size_t key_size, value_size;
    char bytes[]; /* key, value */
};

struct store {
    struct token_store base;
    pthread_rwlock_t lock; /* readers from begin to end, the writer while it changes the table */
    struct entry **chains;
    size_t chain_count, entry_count, expire_at;
    struct entry **pending; /* writer only */
    size_t pending_count, pending_room;
};

struct reader {
    struct store *store;
};

static struct store *of(struct token_store *base)
{
    return (struct store *)base;
}

static uint64_t hash_of(enum kind kind, const char *mapping, const void *bytes, size_t size)
{
    return XXH3_64bits_withSeed(bytes, size, XXH3_64bits(mapping, strlen(mapping)) + kind);
}

static struct entry *entry_new(enum kind kind, const char *mapping, const void *bytes, size_t size,
                               const void *value, size_t value_size)
{
    size_t name_size = strlen(mapping) + 1;
    struct entry *entry = memory_new(sizeof *entry + name_size + size + value_size);

    *entry = (struct entry){.hash = hash_of(kind, mapping, bytes, size),
                            .kind = kind,
                            .key_size = name_size + size,
                            .value_size = value_size};
    memcpy(entry->bytes, mapping, name_size);
    if (size)
        memcpy(entry->bytes + name_size, bytes, size);
    if (value_size)
        memcpy(entry->bytes + name_size + size, value, value_size);
    return entry;
}

static void drop_pending(struct token_store *base)
{
    struct store *store = of(base);

    while (store->pending_count)
        free(store->pending[--store->pending_count]);
}

static int store_begin(struct token_store *base, struct fault *fault)
{
    drop_pending(base);
    return 0;
}

static int pend(struct store *store, struct entry *entry, struct fault *fault)
{
    if (store->pending_count >= PENDING_MOST) {
        free(entry);
        drop_pending(&store->base);
        return fault_set(fault, "memory: more than %d records in one transaction", PENDING_MOST);
    }
    if (store->pending_count == store->pending_room) {
        store->pending_room = store->pending_room ? store->pending_room * 2 : 256;
        store->pending = memory_resize(store->pending, store->pending_room, sizeof *store->pending);
    }
    store->pending[store->pending_count++] = entry;
    return 0;
}

static int put_tokens(struct token_store *base, const struct token_record *records, size_t count,
                      struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        const struct token_record *record = &records[i];
        struct entry *entry;

        if (record->token_size > TOKEN_MAX) {
            drop_pending(base);
            return fault_set(fault, "memory: a token of %zu bytes (at most %d)", record->token_size,
                             TOKEN_MAX);
        }
        entry = entry_new(KIND_TOKEN, record->mapping, record->token, record->token_size, NULL, 0);
        memcpy(entry->fingerprint, record->fingerprint, sizeof entry->fingerprint);
        entry->recorded_wall_us = record->recorded_wall_us;
        entry->expires_wall_us = record->expires_wall_us;
        memcpy(entry->place, record->place, strnlen(record->place, sizeof record->place - 1));
        if (pend(of(base), entry, fault) != 0)
            return -1;
    }
    return 0;
}

static int put_lanes(struct token_store *base, const struct lane_record *records, size_t count,
                     struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        const struct lane_record *record = &records[i];
        struct entry *entry =
            entry_new(KIND_LANE, record->mapping, record->lane, strlen(record->lane), record->value,
                      record->value ? record->value_size : 0);

        entry->expires_wall_us = record->expires_wall_us;
        entry->forget = !record->value;
        if (pend(of(base), entry, fault) != 0)
            return -1;
    }
    return 0;
}

/* Where the entry of such a key is linked, or the end of its chain. */
static struct entry **find(struct store *store, enum kind kind, uint64_t hash, const char *mapping,
                           const void *bytes, size_t size)
{
    struct entry **at = &store->chains[hash & (store->chain_count - 1)];
    size_t name_size = strlen(mapping) + 1;

    for (; *at; at = &(*at)->next) {
        const struct entry *entry = *at;

        if (entry->hash == hash && entry->kind == kind && entry->key_size == name_size + size &&
            memcmp(entry->bytes, mapping, name_size) == 0 &&
            (!size || memcmp(entry->bytes + name_size, bytes, size) == 0))
            break;
    }
    return at;
}

static void grow(struct store *store)
{
    size_t count = store->chain_count * 2;
    struct entry **chains = memory_zero(count, sizeof *chains);

    for (size_t i = 0; i < store->chain_count; i++) {
        struct entry *entry = store->chains[i];

        while (entry) {
            struct entry *next = entry->next;

            entry->next = chains[entry->hash & (count - 1)];
            chains[entry->hash & (count - 1)] = entry;
            entry = next;
        }
    }
    free(store->chains);
    store->chains = chains;
    store->chain_count = count;
}

static void insert(struct store *store, struct entry *entry)
{
    size_t name_size = strlen(entry->bytes) + 1;
    struct entry **at = find(store, entry->kind, entry->hash, entry->bytes,
                             entry->bytes + name_size, entry->key_size - name_size);

    if (*at) {
        struct entry *old = *at;

        *at = old->next;
        free(old);
        store->entry_count--;
    }
    if (entry->forget) {
        free(entry);
        return;
    }
    if (store->entry_count >= store->chain_count)
        grow(store);
    at = &store->chains[entry->hash & (store->chain_count - 1)];
    entry->next = *at;
    *at = entry;
    store->entry_count++;
}

static int store_commit(struct token_store *base, struct fault *fault)
{
    struct store *store = of(base);

    pthread_rwlock_wrlock(&store->lock);
    for (size_t i = 0; i < store->pending_count; i++)
        insert(store, store->pending[i]);
    store->pending_count = 0;
    pthread_rwlock_unlock(&store->lock);
    return 0;
}

static int store_expire(struct token_store *base, int64_t wall_us, struct fault *fault)
{
    struct store *store = of(base);
    int more;

    pthread_rwlock_wrlock(&store->lock);
    for (size_t seen = 0; seen < CHAINS_AT_ONCE && store->expire_at < store->chain_count; seen++) {
        struct entry **at = &store->chains[store->expire_at++];

        while (*at) {
            struct entry *entry = *at;

            if (entry->expires_wall_us > wall_us) {
                at = &entry->next;
                continue;
            }
            *at = entry->next;
            free(entry);
            store->entry_count--;
        }
    }
    more = store->expire_at < store->chain_count;
    if (!more)
        store->expire_at = 0;
    pthread_rwlock_unlock(&store->lock);
    return more;
}

static struct token_reader *reader_new(struct token_store *base, struct fault *fault)
{
    struct reader *reader = memory_zero(1, sizeof *reader);

    reader->store = of(base);
    return (struct token_reader *)reader;
}

static void reader_free(struct token_reader *reader)
{
    free(reader);
}

static int reader_begin(struct token_reader *reader, struct fault *fault)
{
    pthread_rwlock_rdlock(&((struct reader *)reader)->store->lock);
    return 0;
}

static void reader_end(struct token_reader *reader)
{
    pthread_rwlock_unlock(&((struct reader *)reader)->store->lock);
}

static int find_token(struct token_reader *reader, const char *mapping, const char *token,
                      size_t token_size, int64_t wall_us, struct token_record *ret_record,
                      struct fault *fault)
{
    struct store *store = ((struct reader *)reader)->store;
    const struct entry *entry =
        *find(store, KIND_TOKEN, hash_of(KIND_TOKEN, mapping, token, token_size), mapping, token,
              token_size);

    if (!entry || entry->expires_wall_us <= wall_us)
        return 0;
    *ret_record = (struct token_record){.mapping = mapping,
                                        .token = token,
                                        .token_size = token_size,
                                        .recorded_wall_us = entry->recorded_wall_us,
                                        .expires_wall_us = entry->expires_wall_us};
    memcpy(ret_record->fingerprint, entry->fingerprint, sizeof entry->fingerprint);
    memcpy(ret_record->place, entry->place, sizeof entry->place);
    return 1;
}

static int find_lane(struct token_reader *reader, const char *mapping, const char *lane,
                     int64_t wall_us, void *ret_value, size_t room, size_t *ret_size,
                     struct fault *fault)
{
    struct store *store = ((struct reader *)reader)->store;
    size_t size = strlen(lane);
    const struct entry *entry =
        *find(store, KIND_LANE, hash_of(KIND_LANE, mapping, lane, size), mapping, lane, size);

    if (!entry || entry->expires_wall_us <= wall_us)
        return 0;
    if (room > entry->value_size)
        room = entry->value_size;
    if (room)
        memcpy(ret_value, entry->bytes + entry->key_size, room);
    *ret_size = entry->value_size;
    return 1;
}

static void store_close(struct token_store *base)
{
    struct store *store = of(base);

    drop_pending(base);
    for (size_t i = 0; i < store->chain_count; i++) {
        while (store->chains[i]) {
            struct entry *entry = store->chains[i];

            store->chains[i] = entry->next;
            free(entry);
        }
    }
    pthread_rwlock_destroy(&store->lock);
    free(store->chains);
    free(store->pending);
    free(store);
}

static const struct token_store_ops ops = {
    .begin = store_begin,
    .put_tokens = put_tokens,
    .put_lanes = put_lanes,
    .commit = store_commit,
    .abort = drop_pending,
    .expire = store_expire,
    .reader_new = reader_new,
    .reader_free = reader_free,
    .reader_begin = reader_begin,
    .reader_end = reader_end,
    .find_token = find_token,
    .find_lane = find_lane,
    .close = store_close,
};

struct token_store *token_store_memory_open(void)
{
    struct store *store = memory_zero(1, sizeof *store);

    store->base.ops = &ops;
    pthread_rwlock_init(&store->lock, NULL);
    store->chain_count = FIRST_CHAINS;
    store->chains = memory_zero(store->chain_count, sizeof *store->chains);
    return &store->base;
}
