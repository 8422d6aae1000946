/* SPDX-License-Identifier: MIT
 * The days of each mapping and what it used on them, in memory. No locks, no clock. */
#ifndef SERVICE_LEDGER_H
#define SERVICE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/usage_store.h"

#define LEDGER_DAYS 400 /* kept of each mapping: the latest */

struct ledger_day {
    int64_t day;
    struct usage_counts counts;
    bool unwritten; /* not on disk as it is */
};

struct ledger_mapping {
    char *name;
    struct ledger_day *days; /* ascending */
    size_t count;
};

struct ledger {
    struct ledger_mapping *mappings; /* in the order in which they came */
    size_t count;
};

void ledger_fini(struct ledger *ledger);

/* Adds to a day, with a mark that it is unwritten. Nothing where the counts are all 0. */
void ledger_add(struct ledger *ledger, const char *mapping, int64_t day,
                const struct usage_counts *counts);
/* Adds to a day what is on disk of it: it stays unwritten if it was. */
void ledger_load(struct ledger *ledger, const struct usage_row *row);
void usage_counts_add(struct usage_counts *sum, const struct usage_counts *more);

/* The unwritten days as rows, to be freed; their names are the ledger's and stay valid. Marks them
 * written. */
struct usage_row *ledger_take_unwritten(struct ledger *ledger, size_t *ret_count);
/* They were not written after all. */
void ledger_give_back(struct ledger *ledger, const struct usage_row *rows, size_t count);

#endif
