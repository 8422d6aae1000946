/* SPDX-License-Identifier: MIT */
#include "service/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void ledger_fini(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->count; i++) {
        free(ledger->mappings[i].name);
        free(ledger->mappings[i].days);
    }
    free(ledger->mappings);
    *ledger = (struct ledger){0};
}

static struct ledger_mapping *find_mapping(struct ledger *ledger, const char *name)
{
    struct ledger_mapping *mapping;

    for (size_t i = 0; i < ledger->count; i++)
        if (!strcmp(ledger->mappings[i].name, name))
            return &ledger->mappings[i];
    ledger->mappings =
        memory_resize(ledger->mappings, ledger->count + 1, sizeof *ledger->mappings);
    mapping = &ledger->mappings[ledger->count++];
    *mapping = (struct ledger_mapping){
        .name = memory_text(name), .days = memory_zero(LEDGER_DAYS + 1, sizeof *mapping->days)};
    return mapping;
}

/* The day's entry; the earliest one goes where there are too many. NULL: this is it. */
static struct ledger_day *find_day(struct ledger_mapping *mapping, int64_t day)
{
    size_t at = mapping->count;

    while (at && mapping->days[at - 1].day > day)
        at--;
    if (at && mapping->days[at - 1].day == day)
        return &mapping->days[at - 1];
    memmove(&mapping->days[at + 1], &mapping->days[at],
            (mapping->count - at) * sizeof *mapping->days);
    mapping->days[at] = (struct ledger_day){.day = day};
    if (mapping->count < LEDGER_DAYS) {
        mapping->count++;
        return &mapping->days[at];
    }
    memmove(mapping->days, mapping->days + 1, mapping->count * sizeof *mapping->days);
    return at ? &mapping->days[at - 1] : NULL;
}

void usage_counts_add(struct usage_counts *sum, const struct usage_counts *more)
{
    sum->invocations += more->invocations;
    sum->messages += more->messages;
    sum->received_bytes += more->received_bytes;
    sum->sent_bytes += more->sent_bytes;
    sum->function_us += more->function_us;
}

void ledger_add(struct ledger *ledger, const char *mapping, int64_t day,
                const struct usage_counts *counts)
{
    static const struct usage_counts nothing;
    struct ledger_day *entry;

    if (!memcmp(counts, &nothing, sizeof nothing))
        return;
    entry = find_day(find_mapping(ledger, mapping), day);
    if (!entry)
        return;
    usage_counts_add(&entry->counts, counts);
    entry->unwritten = true;
}

void ledger_load(struct ledger *ledger, const struct usage_row *row)
{
    struct ledger_day *entry = find_day(find_mapping(ledger, row->mapping), row->day);

    if (entry)
        usage_counts_add(&entry->counts, &row->counts);
}

struct usage_row *ledger_take_unwritten(struct ledger *ledger, size_t *ret_count)
{
    struct usage_row *rows = NULL;

    *ret_count = 0;
    for (size_t i = 0; i < ledger->count; i++)
        for (size_t j = 0; j < ledger->mappings[i].count; j++) {
            struct ledger_day *day = &ledger->mappings[i].days[j];

            if (!day->unwritten)
                continue;
            day->unwritten = false;
            rows = memory_resize(rows, *ret_count + 1, sizeof *rows);
            rows[(*ret_count)++] =
                (struct usage_row){ledger->mappings[i].name, day->day, day->counts};
        }
    return rows;
}

void ledger_give_back(struct ledger *ledger, const struct usage_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ledger_mapping *mapping = find_mapping(ledger, rows[i].mapping);

        for (size_t j = 0; j < mapping->count; j++)
            if (mapping->days[j].day == rows[i].day)
                mapping->days[j].unwritten = true;
    }
}
