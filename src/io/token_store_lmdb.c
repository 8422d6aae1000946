/* SPDX-License-Identifier: MIT
 * Opening and closing the embedded token store. */
#define _GNU_SOURCE
#include "io/token_store.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/token_store_lmdb.h"

#define FORMAT_VERSION  1
#define BUCKETS_PER_TTL 12
#define WIDTH_LEAST     (10 * CLOCK_SECOND)
#define READERS_MOST    1022 /* pollers and whatever else looks up */
#define MAP_LEAST       ((size_t)8 << 20)
#define RESERVE_LEAST   ((size_t)4 << 20) /* see check_room in token_store_lmdb_write.c */
#define FILTER_SHARE    16                /* filters take at most this part of map_bytes */
#define FILTER_LEAST    ((size_t)4 << 20)
#define KEY_PLAIN       0
#define KEY_HASHED      1

size_t token_store_lmdb_key(uint16_t mapping, const void *bytes, size_t size,
                            unsigned char ret_key[TOKEN_STORE_LMDB_KEY])
{
    ret_key[0] = (unsigned char)(mapping >> 8);
    ret_key[1] = (unsigned char)mapping;
    if (size <= TOKEN_STORE_LMDB_KEY - 3) {
        ret_key[2] = KEY_PLAIN;
        if (size)
            memcpy(ret_key + 3, bytes, size);
        return size + 3;
    }
    ret_key[2] = KEY_HASHED;
    SHA256(bytes, size, ret_key + 3);
    return 3 + SHA256_DIGEST_LENGTH;
}

uint64_t token_store_lmdb_hash(const void *key, size_t size)
{
    return XXH3_64bits(key, size);
}

static bool disk_is_full(const struct token_store_lmdb *store)
{
    struct statvfs info;

    return statvfs(store->path, &info) == 0 && info.f_bavail == 0;
}

int token_store_lmdb_fault(const struct token_store_lmdb *store, int code, const char *what,
                           struct fault *fault)
{
    switch (code) {
    case MDB_MAP_FULL:
        return fault_set(fault,
                         "%s: the token store is full (%zu MiB); raise the store's size and "
                         "restart, or shorten idempotency.ttl; messages wait meanwhile",
                         store->path, store->map_bytes >> 20);
    case EIO: /* what LMDB makes of a write cut short by a full disk */
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        if (code != EIO || disk_is_full(store))
            return fault_set(fault, "%s: %s: no space left; free some, writing goes on by itself",
                             store->path, what);
        return fault_set(fault, "%s: %s: the disk reports an error; look at the kernel's log",
                         store->path, what);
    case MDB_PANIC:
        return fault_set(fault,
                         "%s: %s: an earlier disk error has stopped this store; repair the disk "
                         "and restart sluice (nothing recorded is lost)",
                         store->path, what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return fault_set(fault,
                         "%s: %s: the file is damaged or not a token store (%s); restore it, or "
                         "move it away: recorded tokens are forgotten then, so messages that come "
                         "again are invoked again",
                         store->path, what, mdb_strerror(code));
    case MDB_READERS_FULL:
        return fault_set(fault, "%s: %s: more than %d readers", store->path, what, READERS_MOST);
    case EACCES:
    case EPERM:
    case EROFS:
        return fault_set(fault, "%s: %s: %s; sluice must own its state directory", store->path,
                         what, strerror(code));
    default:
        return fault_set(fault, "%s: %s: %s", store->path, what, mdb_strerror(code));
    }
}

void token_store_lmdb_ensure_filter(struct token_store_lmdb *store, unsigned number,
                                    size_t expected)
{
    if (!atomic_load(&store->filters[number]))
        atomic_store(&store->filters[number], token_store_filter_new(expected, &store->budget));
}

static int lock_directory(struct token_store_lmdb *store, const char *directory,
                          struct fault *fault)
{
    char *path = memory_format("%s/sluice.lock", directory);
    char text[32] = "";
    int result = 0;

    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0) {
        result =
            fault_set(fault, "%s: %s; sluice must own its state directory", path, strerror(errno));
    } else if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t size = pread(store->lock_fd, text, sizeof text - 1, 0);

        text[size > 0 ? size : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        result = fault_set(fault,
                           "%s: another sluice (pid %s) uses this state directory; stop it, or "
                           "give this one a directory of its own",
                           directory, text[0] ? text : "unknown");
    } else {
        int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());

        /* Only for the message above: the lock itself is what counts, so a full disk is fine. */
        if (ftruncate(store->lock_fd, 0) != 0 || pwrite(store->lock_fd, text, size, 0) != size)
            result = 0;
    }
    free(path);
    return result;
}

/* A file shorter than its own record of its size would kill the process on reading (SIGBUS). */
static int check_size(struct token_store_lmdb *store, struct fault *fault)
{
    MDB_envinfo info;
    struct stat status;
    MDB_stat shape;
    int fd;

    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &shape);
    store->page_bytes = shape.ms_psize;
    if (mdb_env_get_fd(store->env, &fd) != 0 || fstat(fd, &status) != 0)
        return token_store_lmdb_fault(store, EIO, "cannot look at the file", fault);
    /* A new environment claims its two meta pages before it is that long. */
    if (info.me_last_txnid > 0 && (size_t)status.st_size / shape.ms_psize < info.me_last_pgno + 1)
        return token_store_lmdb_fault(store, MDB_CORRUPTED, "the file was cut short", fault);
    return 0;
}

static int check_version(struct token_store_lmdb *store, MDB_txn *txn, struct fault *fault)
{
    MDB_val key = {7, (void *)"version"}, value;
    char text[16];
    MDB_dbi meta;
    int code = mdb_dbi_open(txn, "meta", MDB_CREATE, &meta);
    long version = FORMAT_VERSION;

    if (!code)
        code = mdb_get(txn, meta, &key, &value);
    if (code == MDB_NOTFOUND) {
        value = (MDB_val){(size_t)snprintf(text, sizeof text, "%d", FORMAT_VERSION), text};
        code = mdb_put(txn, meta, &key, &value, 0);
    } else if (!code) {
        snprintf(text, sizeof text, "%.*s", (int)value.mv_size, (const char *)value.mv_data);
        version = strtol(text, NULL, 10);
    }
    if (code)
        return token_store_lmdb_fault(store, code, "cannot read its version", fault);
    if (version < 1)
        return token_store_lmdb_fault(store, MDB_INVALID, "no version in it", fault);
    if (version > FORMAT_VERSION)
        return fault_set(fault,
                         "%s: written by a newer sluice (format %ld, this one knows up to %d); "
                         "install that version again, or use another state directory",
                         store->path, version, FORMAT_VERSION);
    return 0;
}

static int open_databases(struct token_store_lmdb *store, MDB_txn *txn)
{
    int code = mdb_dbi_open(txn, "mappings", MDB_CREATE, &store->mappings_dbi);

    if (!code)
        code = mdb_dbi_open(txn, "slots", MDB_CREATE, &store->slots_dbi);
    if (!code)
        code = mdb_dbi_open(txn, "lanes", MDB_CREATE, &store->lanes_dbi);
    for (unsigned i = 0; !code && i < TOKEN_STORE_LMDB_SLOTS; i++) {
        char name[16];

        snprintf(name, sizeof name, "slot-%02u", i);
        code = mdb_dbi_open(txn, name, MDB_CREATE, &store->slot_dbi[i]);
    }
    return code;
}

static int load_names(struct token_store_lmdb *store, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat shape;
    int code = mdb_stat(txn, store->mappings_dbi, &shape);

    if (code)
        return code;
    store->name_room = shape.ms_entries + 16;
    store->names = memory_zero(store->name_room, sizeof *store->names);
    code = mdb_cursor_open(txn, store->mappings_dbi, &cursor);
    if (code)
        return code;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint16_t number;

        if (value.mv_size != sizeof number || store->name_count >= shape.ms_entries) {
            code = MDB_CORRUPTED;
            break;
        }
        memcpy(&number, value.mv_data, sizeof number);
        store->names[store->name_count++] = (struct token_store_lmdb_name){
            .name = memory_text_n(key.mv_data, key.mv_size), .number = number};
    }
    mdb_cursor_close(cursor);
    store->name_staged = store->name_count;
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Fills the filter of one bucket from its keys. */
static int load_bucket(struct token_store_lmdb *store, MDB_txn *txn, unsigned number)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat shape;
    int code = mdb_stat(txn, store->slot_dbi[number], &shape);

    if (code)
        return code;
    /* Half as much again: the newest bucket still grows. */
    token_store_lmdb_ensure_filter(store, number, shape.ms_entries + shape.ms_entries / 2);
    code = mdb_cursor_open(txn, store->slot_dbi[number], &cursor);
    if (code)
        return code;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        token_store_filter_add(atomic_load(&store->filters[number]),
                               token_store_lmdb_hash(key.mv_data, key.mv_size));
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int load_slots(struct token_store_lmdb *store, MDB_txn *txn)
{
    for (unsigned i = 0; i < TOKEN_STORE_LMDB_SLOTS; i++) {
        unsigned char number = (unsigned char)i;
        MDB_val key = {1, &number}, value;
        int code = mdb_get(txn, store->slots_dbi, &key, &value);

        if (code == MDB_NOTFOUND)
            continue;
        if (!code && value.mv_size != sizeof store->slots[i])
            code = MDB_CORRUPTED;
        if (code)
            return code;
        memcpy(&store->slots[i], value.mv_data, sizeof store->slots[i]);
        if (store->slots[i].end_us && (code = load_bucket(store, txn, i)) != 0)
            return code;
    }
    memcpy(store->staged, store->slots, sizeof store->staged);
    return 0;
}

static int load(struct token_store_lmdb *store, struct fault *fault)
{
    MDB_txn *txn;
    int dead, code = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (code)
        return token_store_lmdb_fault(store, code, "cannot begin", fault);
    if (check_version(store, txn, fault) != 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    code = open_databases(store, txn);
    if (!code)
        code = load_names(store, txn);
    if (!code)
        code = load_slots(store, txn);
    if (code)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn);
    if (code)
        return token_store_lmdb_fault(store, code, "cannot open", fault);
    mdb_reader_check(store->env, &dead);
    return 0;
}

static int open_environment(struct token_store_lmdb *store, struct fault *fault)
{
    size_t reserve = store->map_bytes / 16;
    int code = mdb_env_create(&store->env);

    if (reserve < RESERVE_LEAST)
        reserve = RESERVE_LEAST;
    if (!code)
        code = mdb_env_set_mapsize(store->env, store->map_bytes + reserve);
    if (!code)
        code = mdb_env_set_maxdbs(store->env, TOKEN_STORE_LMDB_SLOTS + 8);
    if (!code)
        code = mdb_env_set_maxreaders(store->env, READERS_MOST);
    /* Default flags: every commit is on the disk when it returns. NOTLS: a reader is an object,
     * not a thread. Never WRITEMAP: a full disk would be SIGBUS. */
    if (!code)
        code = mdb_env_open(store->env, store->path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
    if (code)
        return token_store_lmdb_fault(store, code, "cannot open", fault);
    return 0;
}

static void store_close(struct token_store *base)
{
    struct token_store_lmdb *store = (struct token_store_lmdb *)base;

    if (store->env)
        mdb_env_close(store->env);
    for (unsigned i = 0; i < TOKEN_STORE_LMDB_SLOTS; i++)
        token_store_filter_free(atomic_load(&store->filters[i]));
    while (store->retired) {
        struct token_store_lmdb_retired *retired = store->retired;

        store->retired = retired->next;
        token_store_filter_free(retired->filter);
        free(retired);
    }
    for (size_t i = 0; i < store->name_staged; i++)
        free(store->names[i].name);
    free(store->names);
    free(store->pending);
    buffer_fini(&store->bytes);
    pthread_mutex_destroy(&store->readers_mutex);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store->path);
    free(store);
}

static const struct token_store_ops ops = {
    .begin = token_store_lmdb_begin,
    .put_tokens = token_store_lmdb_put_tokens,
    .put_lanes = token_store_lmdb_put_lanes,
    .commit = token_store_lmdb_commit,
    .abort = token_store_lmdb_abort,
    .expire = token_store_lmdb_expire,
    .reader_new = token_store_lmdb_reader_new,
    .reader_free = token_store_lmdb_reader_free,
    .reader_begin = token_store_lmdb_reader_begin,
    .reader_end = token_store_lmdb_reader_end,
    .find_token = token_store_lmdb_find_token,
    .find_lane = token_store_lmdb_find_lane,
    .close = store_close,
};

struct token_store *token_store_lmdb_open(const char *directory, size_t map_bytes, int64_t ttl_us,
                                          struct fault *fault)
{
    struct token_store_lmdb *store = memory_zero(1, sizeof *store);

    store->base.ops = &ops;
    store->lock_fd = -1;
    store->path = memory_format("%s/tokens.mdb", directory);
    store->map_bytes = map_bytes < MAP_LEAST ? MAP_LEAST : map_bytes;
    store->width_us = ttl_us / BUCKETS_PER_TTL;
    if (store->width_us < WIDTH_LEAST)
        store->width_us = WIDTH_LEAST;
    store->budget.most = map_bytes / FILTER_SHARE;
    if (store->budget.most < FILTER_LEAST)
        store->budget.most = FILTER_LEAST;
    atomic_init(&store->epoch, 1);
    pthread_mutex_init(&store->readers_mutex, NULL);
    buffer_init(&store->bytes, TOKEN_STORE_LMDB_BYTES);
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        fault_set(fault, "%s: cannot make the state directory: %s", directory, strerror(errno));
    } else if (lock_directory(store, directory, fault) == 0 &&
               open_environment(store, fault) == 0 && check_size(store, fault) == 0 &&
               load(store, fault) == 0) {
        return &store->base;
    }
    store_close(&store->base);
    return NULL;
}
