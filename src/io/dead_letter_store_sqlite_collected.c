/* SPDX-License-Identifier: MIT
 * What became of letters that were collected from a place that keeps them, as a topic does: whoever looks
 * there asks by position. What a place with that name holds at a position may have been made anew: then it
 * was written at another time. */
#include <string.h>

#include "base/clock.h"
#include "io/dead_letter_store_sqlite.h"
#include "io/sqlite.h"

int dead_letter_sqlite_collect(struct dead_letter_sqlite *store, const struct dead_letter *letter,
                               int64_t number)
{
    int64_t place, oldest;

    if (!letter->found_lane)
        return 0;
    place = dead_letter_sqlite_place(store, letter);
    if (place < 0 ||
        dead_letter_sqlite_run_with(store, STATEMENT_COLLECT,
                                    (const int64_t[]){place, (int64_t)letter->found_position,
                                                      letter->found_wall_us, number},
                                    4) != 0)
        return -1;
    oldest = sqlite3_last_insert_rowid(store->db) - DEAD_LETTER_COLLECTED_MOST;
    return oldest <= 0 ? 0 : dead_letter_sqlite_run_with(store, STATEMENT_TRIM_COLLECTED, &oldest, 1);
}

int dead_letter_sqlite_end_of(struct dead_letter_sqlite *store, const struct dead_letter_act *act,
                              struct dead_letter_end *ret_end)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_COLLECTED_HERE);
    int code;

    if (!statement)
        return -1;
    code = sqlite3_step(statement);
    sqlite3_reset(statement);
    *ret_end = (struct dead_letter_end){
        .any = code == SQLITE_ROW,
        .fate = !act                                ? DEAD_LETTER_EXPIRED
                : strcmp(act->action, "replay") == 0 ? DEAD_LETTER_DONE
                                                     : DEAD_LETTER_DISCARDED,
        .wall_us = clock_wall(),
    };
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : -1;
}

int dead_letter_sqlite_collected_ends(struct dead_letter_sqlite *store, int64_t first, int64_t last,
                                      const struct dead_letter_end *end)
{
    if (!end->any)
        return 0;
    return dead_letter_sqlite_run_with(store, STATEMENT_COLLECTED_ENDS,
                                       (const int64_t[]){first, last, end->fate, end->wall_us}, 4);
}

int dead_letter_sqlite_collected(struct dead_letter_store *base, const char *connector,
                                 const char *lane, uint64_t position, int64_t written_wall_us,
                                 struct dead_letter_collected *ret_collected, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    sqlite3_stmt *row = dead_letter_sqlite_statement(store, STATEMENT_COLLECTED);
    int code = SQLITE_ERROR;

    if (row) {
        sqlite3_bind_text(row, 1, lane, -1, SQLITE_STATIC);
        sqlite3_bind_text(row, 2, connector, -1, SQLITE_STATIC);
        sqlite3_bind_int64(row, 3, (int64_t)position);
        sqlite3_bind_int64(row, 4, written_wall_us);
        code = sqlite3_step(row);
    }
    if (code == SQLITE_ROW) {
        *ret_collected = (struct dead_letter_collected){
            .fate = (enum dead_letter_fate)sqlite3_column_int(row, 0),
            .ended_wall_us = sqlite3_column_int64(row, 1),
            .replay_count = (uint32_t)sqlite3_column_int64(row, 3),
            .replayed_wall_us = sqlite3_column_int64(row, 4),
        };
        strncpy(ret_collected->id, sqlite_text(row, 2), sizeof ret_collected->id - 1);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        dead_letter_sqlite_fault(store, "cannot read what was collected", fault);
    if (row)
        sqlite3_reset(row);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : -1;
}
