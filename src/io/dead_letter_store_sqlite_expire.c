/* SPDX-License-Identifier: MIT
 * Removing letters that were kept long enough. */
#include <stdlib.h>

#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"

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

static int64_t find_old(struct dead_letter_sqlite *store, int64_t kind, int64_t before_us,
                        int64_t *numbers, uint32_t room)
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
        numbers[count++] = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? (int64_t)count : -1;
}

static int run_with(struct dead_letter_sqlite *store, enum dead_letter_statement which,
                    int64_t first, int64_t second, int64_t third)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, which);
    const int64_t numbers[] = {first, second, third};

    if (!statement)
        return -1;
    for (int i = 0; i < sqlite3_bind_parameter_count(statement) && i < 3; i++)
        sqlite3_bind_int64(statement, i + 1, numbers[i]);
    return dead_letter_sqlite_finish(statement) == SQLITE_OK ? 0 : -1;
}

/* Numbers are sorted: those of one hour follow each other. */
static int delete_letters(struct dead_letter_sqlite *store, int64_t kind, const int64_t *numbers,
                          int64_t count)
{
    int64_t of_hour = 0;

    for (int64_t i = 0; i < count; i++) {
        int64_t hour = numbers[i] / DEAD_LETTER_HOUR;

        if (run_with(store, STATEMENT_DELETE_LETTER, numbers[i], 0, 0) != 0 ||
            run_with(store, STATEMENT_DELETE_BODY, numbers[i], 0, 0) != 0)
            return -1;
        of_hour++;
        if (i + 1 < count && numbers[i + 1] / DEAD_LETTER_HOUR == hour)
            continue;
        if (run_with(store, STATEMENT_FIX_TALLY, kind, hour, of_hour) != 0 ||
            run_with(store, STATEMENT_CLEAN_TALLY, kind, hour, 0) != 0)
            return -1;
        of_hour = 0;
    }
    return 0;
}

int64_t dead_letter_sqlite_expire(struct dead_letter_store *base, const char *mapping,
                                  int64_t before_wall_us, uint32_t most, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    int64_t kind = old_kind(store, mapping, before_wall_us), total = 0, count;
    int64_t *numbers;

    if (kind < 0)
        return dead_letter_sqlite_fault(store, "cannot look for expired letters", fault);
    if (!kind || !most)
        return 0;
    if (dead_letter_sqlite_run(store, STATEMENT_BEGIN) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot begin to expire letters", fault);
    numbers = memory_new(most * sizeof *numbers);
    while (total < most && kind > 0) {
        count = find_old(store, kind, before_wall_us, numbers, (uint32_t)(most - total));
        if (count <= 0 || delete_letters(store, kind, numbers, count) != 0) {
            kind = count == 0 ? 0 : -1;
            break;
        }
        total += count;
        kind = old_kind(store, mapping, before_wall_us);
    }
    free(numbers);
    if (kind >= 0 && dead_letter_sqlite_run(store, STATEMENT_COMMIT) == SQLITE_OK)
        return total;
    dead_letter_sqlite_fault(store, "cannot expire letters", fault);
    if (!sqlite3_get_autocommit(store->db))
        dead_letter_sqlite_run(store, STATEMENT_ROLLBACK);
    return -1;
}
