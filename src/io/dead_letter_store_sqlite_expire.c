/* SPDX-License-Identifier: MIT
 * Removing letters that were kept long enough. */
#include <stdlib.h>

#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"

#define JOURNAL_PAGES 1000 /* see DEAD_LETTER_JOURNAL_PAGES */

/* A kind of the mapping that may have letters from before then; 0: none, -1 with SQLite's error
 * set. Asked outside a transaction, so that having nothing to do costs no lock. */
static int64_t old_kind(struct dead_letter_sqlite *store, const char *mapping, int64_t before_us)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_ANY_OLD);
    int64_t kind = 0;
    int code;

    if (!statement)
        return -1;
    sqlite3_bind_text(statement, 1, mapping, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, before_us);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        kind = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? kind : -1;
}

/* A letter to be removed, of a kind. */
struct old {
    int64_t number, bytes;
};

static int64_t find_old(struct dead_letter_sqlite *store, int64_t kind, int64_t before_us,
                        struct old *old, uint32_t room)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_OLD_LETTERS);
    uint32_t count = 0;
    int code = SQLITE_ROW;

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, kind);
    sqlite3_bind_int64(statement, 2, before_us);
    sqlite3_bind_int64(statement, 3, room);
    while (count < room && (code = sqlite3_step(statement)) == SQLITE_ROW)
        old[count++] =
            (struct old){sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1)};
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? (int64_t)count : -1;
}

/* They are sorted: those of one hour follow each other. */
static int delete_letters(struct dead_letter_sqlite *store, int64_t kind, const struct old *old,
                          int64_t count)
{
    struct dead_letter_end end;
    int64_t of_hour = 0, bytes = 0;

    if (dead_letter_sqlite_end_of(store, NULL, &end) != 0)
        return -1;

    for (int64_t i = 0; i < count; i++) {
        int64_t hour = old[i].number / DEAD_LETTER_HOUR;

        if (dead_letter_sqlite_run_with(store, STATEMENT_DELETE_LETTER, &old[i].number, 1) != 0 ||
            dead_letter_sqlite_run_with(store, STATEMENT_DELETE_BODY, &old[i].number, 1) != 0 ||
            dead_letter_sqlite_collected_ends(store, old[i].number, old[i].number, &end) != 0)
            return -1;
        of_hour++;
        bytes += old[i].bytes;
        if (i + 1 < count && old[i + 1].number / DEAD_LETTER_HOUR == hour)
            continue;
        if (dead_letter_sqlite_tally_take(store, kind, hour, of_hour, bytes) != 0)
            return -1;
        of_hour = bytes = 0;
    }
    return 0;
}

/* Nobody waits for expiry, but letters wait behind it: it takes the journal over more often, so that it
 * never takes long. */
static int end(struct dead_letter_sqlite *store, bool good, struct fault *fault)
{
    int result;

    sqlite3_wal_autocheckpoint(store->db, JOURNAL_PAGES);
    result = dead_letter_sqlite_end(store, good, "cannot expire letters", fault);
    sqlite3_wal_autocheckpoint(store->db, DEAD_LETTER_JOURNAL_PAGES);
    return result;
}

int64_t dead_letter_sqlite_expire(struct dead_letter_store *base, const char *mapping,
                                  int64_t before_wall_us, uint32_t most, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    int64_t kind = old_kind(store, mapping, before_wall_us), total = 0, count;
    struct old *old;

    if (kind < 0)
        return dead_letter_sqlite_fault(store, "cannot look for expired letters", fault);
    if (!kind || !most)
        return 0;
    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    old = memory_new(most * sizeof *old);
    while (total < most && kind > 0) {
        count = find_old(store, kind, before_wall_us, old, (uint32_t)(most - total));
        if (count <= 0 || delete_letters(store, kind, old, count) != 0) {
            kind = count == 0 ? 0 : -1;
            break;
        }
        total += count;
        kind = old_kind(store, mapping, before_wall_us);
    }
    free(old);
    return end(store, kind >= 0, fault) == 0 ? total : -1;
}
