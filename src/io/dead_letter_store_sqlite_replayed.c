/* SPDX-License-Identifier: MIT
 * A letter that died again in a replay goes back to its row: what happened now is added to what
 * happened before. */
#include <string.h>

#include "io/dead_letter_store_id.h"
#include "io/dead_letter_store_sqlite.h"

struct row {
    int64_t number, kind, bytes, mapping;
    struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS];
    size_t attempts_kept;
};

/* 1: found; 0: somebody removed it; -1 with SQLite's error set. */
static int find_row(struct dead_letter_sqlite *store, const char *id, struct row *row)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_REPLAYED);
    int64_t since, until;
    int code;

    if (!statement)
        return -1;
    if (dead_letter_store_id_range(id, &since, &until) != 0)
        return 0;
    sqlite3_bind_int64(statement, 1, since);
    sqlite3_bind_int64(statement, 2, until);
    sqlite3_bind_text(statement, 3, id, -1, SQLITE_STATIC);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        row->number = sqlite3_column_int64(statement, 0);
        row->kind = sqlite3_column_int64(statement, 1);
        row->bytes = sqlite3_column_int64(statement, 2);
        row->mapping = sqlite3_column_int64(statement, 3);
        row->attempts_kept = dead_letter_sqlite_read_attempts(
            (const char *)sqlite3_column_text(statement, 4),
            (size_t)sqlite3_column_bytes(statement, 4), row->attempts);
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : -1;
}

/* The newest of both. */
static void join_attempts(struct row *row, const struct dead_letter *letter)
{
    size_t more = letter->attempts_kept, kept = row->attempts_kept, drop;

    if (more > DEAD_LETTER_ATTEMPTS)
        more = DEAD_LETTER_ATTEMPTS;
    drop = kept + more > DEAD_LETTER_ATTEMPTS ? kept + more - DEAD_LETTER_ATTEMPTS : 0;
    memmove(row->attempts, row->attempts + drop, (kept - drop) * sizeof *row->attempts);
    if (more)
        memcpy(row->attempts + kept - drop, letter->attempts + letter->attempts_kept - more,
               more * sizeof *row->attempts);
    row->attempts_kept = kept - drop + more;
}

static int write_story(struct dead_letter_sqlite *store, const struct row *row,
                       const struct dead_letter *letter)
{
    struct dead_letter joined = {.attempts = row->attempts, .attempts_kept = row->attempts_kept};
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_UPDATE_BODY);
    size_t excerpt = letter->response.size;
    int code;

    if (!statement)
        return -1;
    buffer_reset(&store->text);
    dead_letter_sqlite_write_attempts(&store->text, &joined);
    if (excerpt > DEAD_LETTER_EXCERPT)
        excerpt = DEAD_LETTER_EXCERPT;
    sqlite3_bind_int64(statement, 1, row->number);
    sqlite3_bind_text64(statement, 2, store->text.data, store->text.size, SQLITE_STATIC,
                        SQLITE_UTF8);
    if (letter->response.data)
        sqlite3_bind_blob64(statement, 3, letter->response.data, excerpt, SQLITE_STATIC);
    code = dead_letter_sqlite_finish(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_OK ? 0 : -1;
}

static int update_letter(struct dead_letter_sqlite *store, int64_t number, int64_t kind,
                         const struct dead_letter *letter)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_UPDATE_REPLAYED);

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, number);
    sqlite3_bind_int64(statement, 2, kind);
    sqlite3_bind_text(statement, 3, letter->revision, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, letter->reason, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, letter->attempt_count);
    sqlite3_bind_int64(statement, 6, letter->last_wall_us);
    return dead_letter_sqlite_finish(statement) == SQLITE_OK ? 0 : -1;
}

int dead_letter_sqlite_add_replayed(struct dead_letter_sqlite *store,
                                    struct dead_letter_tallies *tallies,
                                    struct dead_letter *letter)
{
    struct row row;
    int64_t kind, lane;
    int found = find_row(store, letter->id, &row);

    if (found <= 0)
        return found;
    if (dead_letter_sqlite_classify(store, letter, row.mapping, &lane, &kind) != 0 ||
        update_letter(store, row.number, kind, letter) != 0)
        return -1;
    if (kind != row.kind &&
        (dead_letter_sqlite_tally_flush(store, tallies) != 0 ||
         dead_letter_sqlite_tally_take(store, row.kind, row.number / DEAD_LETTER_HOUR, 1,
                                       row.bytes) != 0 ||
         dead_letter_sqlite_tally_add(store, tallies, kind, row.number, row.bytes) != 0))
        return -1;
    join_attempts(&row, letter);
    return write_story(store, &row, letter);
}
