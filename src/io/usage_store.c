/* SPDX-License-Identifier: MIT */
#include "io/usage_store.h"

#include <stdlib.h>

#include <sqlite3.h>

#include "base/memory.h"
#include "io/sqlite.h"

#define BUSY_MS 2000

struct usage_store {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *write, *trim;
};

/* A row is written every few seconds, and losing the last on a power failure is harmless: NORMAL. */
static const char schema[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS usage (mapping TEXT NOT NULL, day INTEGER NOT NULL,"
    "  invocations INTEGER NOT NULL, messages INTEGER NOT NULL, received_bytes INTEGER NOT NULL,"
    "  sent_bytes INTEGER NOT NULL, function_us INTEGER NOT NULL, PRIMARY KEY (mapping, day))"
    " WITHOUT ROWID;";

static int fail(const struct usage_store *store, const char *what, struct fault *fault)
{
    return fault_set(fault, "%s: %s: %s", store->path, what, sqlite3_errmsg(store->db));
}

struct usage_store *usage_store_open(const char *directory, struct fault *fault)
{
    struct usage_store *store = memory_zero(1, sizeof *store);

    store->path = memory_format("%s/usage.db", directory);
    if (sqlite_make(store->path, fault) != 0) {
        usage_store_close(store);
        return NULL;
    }
    if (sqlite_open(store->path, &store->db, SQLITE_OPEN_READWRITE) != SQLITE_OK ||
        sqlite3_busy_timeout(store->db, BUSY_MS) != SQLITE_OK ||
        sqlite3_exec(store->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(store->db, "INSERT OR REPLACE INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                           -1, &store->write, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(store->db,
                           "DELETE FROM usage WHERE mapping = ?1 AND day <= (SELECT day FROM usage"
                           " WHERE mapping = ?1 ORDER BY day DESC LIMIT 1 OFFSET ?2)",
                           -1, &store->trim, NULL) != SQLITE_OK) {
        fail(store, "cannot open the record of usage; if it is damaged, move it away", fault);
        usage_store_close(store);
        return NULL;
    }
    return store;
}

void usage_store_close(struct usage_store *store)
{
    if (!store)
        return;
    sqlite3_finalize(store->write);
    sqlite3_finalize(store->trim);
    sqlite3_close(store->db);
    free(store->path);
    free(store);
}

int usage_store_read(struct usage_store *store,
                     void (*take)(void *argument, const struct usage_row *row), void *argument,
                     struct fault *fault)
{
    sqlite3_stmt *statement;
    int code;

    if (sqlite3_prepare_v2(store->db, "SELECT * FROM usage ORDER BY mapping, day", -1, &statement,
                           NULL) != SQLITE_OK)
        return fail(store, "cannot read", fault);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct usage_row row = {
            .mapping = (const char *)sqlite3_column_text(statement, 0),
            .day = sqlite3_column_int64(statement, 1),
            .counts = {.invocations = (uint64_t)sqlite3_column_int64(statement, 2),
                       .messages = (uint64_t)sqlite3_column_int64(statement, 3),
                       .received_bytes = (uint64_t)sqlite3_column_int64(statement, 4),
                       .sent_bytes = (uint64_t)sqlite3_column_int64(statement, 5),
                       .function_us = (uint64_t)sqlite3_column_int64(statement, 6)},
        };

        take(argument, &row);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? 0 : fail(store, "cannot read", fault);
}

static int run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    sqlite3_reset(statement);
    return code == SQLITE_DONE ? 0 : -1;
}

static int write_row(struct usage_store *store, const struct usage_row *row, unsigned days_kept)
{
    const uint64_t numbers[] = {(uint64_t)row->day,          row->counts.invocations,
                                row->counts.messages,        row->counts.received_bytes,
                                row->counts.sent_bytes,      row->counts.function_us};

    sqlite3_bind_text(store->write, 1, row->mapping, -1, SQLITE_STATIC);
    for (int i = 0; i < (int)(sizeof numbers / sizeof *numbers); i++)
        sqlite3_bind_int64(store->write, i + 2, (sqlite3_int64)numbers[i]);
    sqlite3_bind_text(store->trim, 1, row->mapping, -1, SQLITE_STATIC);
    sqlite3_bind_int64(store->trim, 2, days_kept);
    return run(store->write) || run(store->trim) ? -1 : 0;
}

int usage_store_write(struct usage_store *store, const struct usage_row *rows, size_t count,
                      unsigned days_kept, struct fault *fault)
{
    int failed = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    for (size_t i = 0; i < count && !failed; i++)
        failed = write_row(store, &rows[i], days_kept);
    if (!failed)
        failed = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    if (failed)
        fail(store, "cannot write", fault);
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return failed ? -1 : 0;
}
