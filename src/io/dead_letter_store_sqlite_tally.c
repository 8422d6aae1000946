/* SPDX-License-Identifier: MIT
 * Keeping the table `tally` true within a transaction. */
#include "io/dead_letter_store_sqlite.h"

int dead_letter_sqlite_tally_flush(struct dead_letter_sqlite *store,
                                   struct dead_letter_tallies *tallies)
{
    for (size_t i = 0; i < tallies->count; i++) {
        const struct dead_letter_tally *tally = &tallies->rows[i];
        const int64_t numbers[] = {tally->kind,  tally->hour, tally->count,
                                   tally->first, tally->last, tally->bytes};

        if (dead_letter_sqlite_run_with(store, STATEMENT_ADD_TALLY, numbers, 6) != 0)
            return -1;
    }
    tallies->count = 0;
    return 0;
}

int dead_letter_sqlite_tally_add(struct dead_letter_sqlite *store,
                                 struct dead_letter_tallies *tallies, int64_t kind, int64_t number,
                                 int64_t bytes)
{
    int64_t hour = number / DEAD_LETTER_HOUR;

    for (size_t i = 0; i < tallies->count; i++) {
        struct dead_letter_tally *tally = &tallies->rows[i];

        if (tally->kind != kind || tally->hour != hour)
            continue;
        tally->count++;
        tally->bytes += bytes;
        if (number < tally->first)
            tally->first = number;
        if (number > tally->last)
            tally->last = number;
        return 0;
    }
    if (tallies->count == DEAD_LETTER_TALLIES &&
        dead_letter_sqlite_tally_flush(store, tallies) != 0)
        return -1;
    tallies->rows[tallies->count++] =
        (struct dead_letter_tally){kind, hour, 1, number, number, bytes};
    return 0;
}

int dead_letter_sqlite_tally_take(struct dead_letter_sqlite *store, int64_t kind, int64_t hour,
                                  int64_t count, int64_t bytes)
{
    const int64_t numbers[] = {kind, hour, count, bytes};

    if (dead_letter_sqlite_run_with(store, STATEMENT_FIX_TALLY, numbers, 4) != 0)
        return -1;
    return dead_letter_sqlite_run_with(store, STATEMENT_CLEAN_TALLY, numbers, 2);
}
