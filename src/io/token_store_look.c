/* SPDX-License-Identifier: MIT */
#include "io/token_store_look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/token_store_lmdb.h"

struct token_look {
    struct token_store_lmdb store; /* its environment and tables; no filters, no lock */
};

/* The stats of one mapping while they are gathered. */
struct gathered {
    struct token_look_stats stats;
    char *name;
    uint16_t number;
};

static int open_tables(struct token_store_lmdb *store)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);

    if (code)
        return code;
    code = mdb_dbi_open(txn, "mappings", 0, &store->mappings_dbi);
    if (!code)
        code = mdb_dbi_open(txn, "lanes", 0, &store->lanes_dbi);
    for (unsigned i = 0; !code && i < TOKEN_STORE_LMDB_SLOTS; i++) {
        char name[16];

        snprintf(name, sizeof name, "slot-%02u", i);
        code = mdb_dbi_open(txn, name, 0, &store->slot_dbi[i]);
    }
    if (code)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn); /* keeps the handles */
    return code;
}

/* Whether a writer has not got further with the file yet than to make it. */
static bool is_empty(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && status.st_size == 0;
}

struct token_look *token_look_open(const char *directory, int write, struct fault *fault)
{
    struct token_look *look = memory_zero(1, sizeof *look);
    struct token_store_lmdb *store = &look->store;
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (write ? 0 : MDB_RDONLY);
    int code;

    store->path = memory_format("%s/tokens.mdb", directory);
    if (access(store->path, write ? R_OK | W_OK : R_OK) != 0) {
        fault_set(fault, "%s: %s%s", store->path, strerror(errno),
                  errno == ENOENT ? "; no service has recorded tokens there yet"
                                  : "; run as the user that sluice runs as, or as root");
        token_look_close(look);
        return NULL;
    }
    code = mdb_env_create(&store->env);
    if (!code)
        code = mdb_env_set_maxdbs(store->env, TOKEN_STORE_LMDB_SLOTS + 8);
    if (!code)
        code = mdb_env_open(store->env, store->path, flags, 0600);
    if (!code)
        code = open_tables(store);
    if (!code)
        return look;
    if (code == MDB_NOTFOUND || is_empty(store->path))
        fault_set(fault, "%s: no service has recorded tokens there yet", store->path);
    else
        token_store_lmdb_fault(store, code, "cannot open", fault);
    token_look_close(look);
    return NULL;
}

void token_look_close(struct token_look *look)
{
    if (!look)
        return;
    if (look->store.env)
        mdb_env_close(look->store.env);
    free(look->store.path);
    free(look);
}

/* The key of the token; size 0 where nothing was ever recorded for the mapping. */
static int make_key(struct token_look *look, MDB_txn *txn, const char *mapping, const char *token,
                    size_t size, unsigned char bytes[TOKEN_STORE_LMDB_KEY], MDB_val *ret_key)
{
    MDB_val name = {strlen(mapping), (void *)(uintptr_t)mapping}, value;
    uint16_t number;
    int code = *mapping ? mdb_get(txn, look->store.mappings_dbi, &name, &value) : MDB_NOTFOUND;

    *ret_key = (MDB_val){0, bytes};
    if (code == MDB_NOTFOUND)
        return 0;
    if (!code && value.mv_size != sizeof number)
        code = MDB_CORRUPTED;
    if (code)
        return code;
    memcpy(&number, value.mv_data, sizeof number);
    ret_key->mv_size = token_store_lmdb_key(number, token, size, bytes);
    return 0;
}

static struct token_store_lmdb_value read_head(const MDB_val *value)
{
    struct token_store_lmdb_value head;

    memcpy(&head, value->mv_data, sizeof head); /* values are not aligned */
    return head;
}

static void fill(struct token_record *record, const MDB_val *value)
{
    struct token_store_lmdb_value head = read_head(value);
    size_t place = value->mv_size - sizeof head;

    if (place > sizeof record->place - 1)
        place = sizeof record->place - 1;
    memcpy(record->fingerprint, head.fingerprint, sizeof record->fingerprint);
    record->recorded_wall_us = head.recorded_wall_us;
    record->expires_wall_us = head.expires_wall_us;
    memcpy(record->place, (const char *)value->mv_data + sizeof head, place);
    record->place[place] = '\0';
}

int token_look_find(struct token_look *look, const char *mapping, const char *token, size_t size,
                    struct token_record *ret_record, struct fault *fault)
{
    unsigned char bytes[TOKEN_STORE_LMDB_KEY];
    MDB_val key, value;
    MDB_txn *txn;
    int64_t best = INT64_MIN;
    int found = 0, code = mdb_txn_begin(look->store.env, NULL, MDB_RDONLY, &txn);

    if (code)
        return token_store_lmdb_fault(&look->store, code, "cannot read", fault);
    code = make_key(look, txn, mapping, token, size, bytes, &key);
    for (unsigned i = 0; !code && key.mv_size && i < TOKEN_STORE_LMDB_SLOTS; i++) {
        code = mdb_get(txn, look->store.slot_dbi[i], &key, &value);
        if (!code && value.mv_size < sizeof(struct token_store_lmdb_value))
            code = MDB_CORRUPTED;
        if (!code && read_head(&value).expires_wall_us > best) {
            best = read_head(&value).expires_wall_us;
            fill(ret_record, &value);
            found = 1;
        }
        if (code == MDB_NOTFOUND)
            code = 0;
    }
    mdb_txn_abort(txn);
    if (code)
        return token_store_lmdb_fault(&look->store, code, "cannot look up a token", fault);
    ret_record->mapping = mapping;
    ret_record->token = token;
    ret_record->token_size = size;
    return found;
}

int token_look_forget(struct token_look *look, const char *mapping, const char *token, size_t size,
                      struct fault *fault)
{
    unsigned char bytes[TOKEN_STORE_LMDB_KEY];
    MDB_val key;
    MDB_txn *txn;
    int found = 0, code = mdb_txn_begin(look->store.env, NULL, 0, &txn);

    if (code)
        return token_store_lmdb_fault(&look->store, code, "cannot write", fault);
    code = make_key(look, txn, mapping, token, size, bytes, &key);
    for (unsigned i = 0; !code && key.mv_size && i < TOKEN_STORE_LMDB_SLOTS; i++) {
        code = mdb_del(txn, look->store.slot_dbi[i], &key, NULL);
        found |= !code;
        if (code == MDB_NOTFOUND)
            code = 0;
    }
    if (code || !found)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn);
    return code ? token_store_lmdb_fault(&look->store, code, "cannot forget a token", fault)
                : found;
}

/* ---- stats ---- */

static int read_names(struct token_look *look, MDB_txn *txn, struct gathered **ret, size_t *ret_count)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open(txn, look->store.mappings_dbi, &cursor);

    while (!code && (code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct gathered *one;

        if (value.mv_size != sizeof one->number) {
            code = MDB_CORRUPTED;
            break;
        }
        *ret = memory_resize(*ret, *ret_count + 1, sizeof **ret);
        one = &(*ret)[(*ret_count)++];
        *one = (struct gathered){.name = memory_text_n(key.mv_data, key.mv_size)};
        memcpy(&one->number, value.mv_data, sizeof one->number);
        one->stats.mapping = one->name;
    }
    if (code != MDB_NOTFOUND)
        return code;
    mdb_cursor_close(cursor);
    return 0;
}

static struct gathered *gathered_of(struct gathered *all, size_t count, const MDB_val *key)
{
    const unsigned char *bytes = key->mv_data;

    for (size_t i = 0; key->mv_size >= 3 && i < count; i++)
        if (all[i].number == (bytes[0] << 8 | bytes[1]))
            return &all[i];
    return NULL;
}

static void count_token(struct token_look_stats *stats, const MDB_val *value)
{
    struct token_store_lmdb_value head;

    if (value->mv_size < sizeof head)
        return;
    head = read_head(value);
    stats->tokens++;
    if (!stats->first_wall_us || head.recorded_wall_us < stats->first_wall_us)
        stats->first_wall_us = head.recorded_wall_us;
    if (head.recorded_wall_us > stats->last_wall_us)
        stats->last_wall_us = head.recorded_wall_us;
    if (!stats->expires_wall_us || head.expires_wall_us < stats->expires_wall_us)
        stats->expires_wall_us = head.expires_wall_us;
}

static int count_table(MDB_txn *txn, MDB_dbi dbi, struct gathered *all, size_t count, int lanes)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open(txn, dbi, &cursor);

    if (code)
        return code;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct gathered *one = gathered_of(all, count, &key);

        if (one && lanes)
            one->stats.lanes++;
        else if (one)
            count_token(&one->stats, &value);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

int token_look_stats(struct token_look *look,
                     void (*each)(void *argument, const struct token_look_stats *stats),
                     void *argument, struct fault *fault)
{
    struct gathered *all = NULL;
    size_t count = 0;
    MDB_txn *txn;
    int code = mdb_txn_begin(look->store.env, NULL, MDB_RDONLY, &txn);

    if (code)
        return token_store_lmdb_fault(&look->store, code, "cannot read", fault);
    code = read_names(look, txn, &all, &count);
    for (unsigned i = 0; !code && i < TOKEN_STORE_LMDB_SLOTS; i++)
        code = count_table(txn, look->store.slot_dbi[i], all, count, 0);
    if (!code)
        code = count_table(txn, look->store.lanes_dbi, all, count, 1);
    mdb_txn_abort(txn);
    for (size_t i = 0; i < count; i++) {
        if (!code)
            each(argument, &all[i].stats);
        free(all[i].name);
    }
    free(all);
    return code ? token_store_lmdb_fault(&look->store, code, "cannot count", fault) : 0;
}
