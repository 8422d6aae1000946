/* SPDX-License-Identifier: MIT
 * What people do with letters, and the log of it. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"

/* ---- the log ---- */

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    sqlite3_bind_text(statement, index, text ? text : "", -1, SQLITE_STATIC);
}

int dead_letter_sqlite_write_act(struct dead_letter_sqlite *store, struct dead_letter_act *act)
{
    sqlite3_stmt *statement;

    if (!act)
        return 0;
    if (act->number)
        return dead_letter_sqlite_run_with(
            store, STATEMENT_UPDATE_ACT,
            (const int64_t[]){act->number, (int64_t)act->count, (int64_t)act->failed}, 3);
    statement = dead_letter_sqlite_statement(store, STATEMENT_ADD_ACT);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, act->wall_us);
    sqlite3_bind_int64(statement, 2, act->uid);
    bind_text(statement, 3, act->login);
    bind_text(statement, 4, act->action);
    bind_text(statement, 5, act->detail);
    sqlite3_bind_int64(statement, 6, (int64_t)act->count);
    sqlite3_bind_int64(statement, 7, (int64_t)act->failed);
    if (dead_letter_sqlite_finish(statement) != SQLITE_OK)
        return -1;
    act->number = sqlite3_last_insert_rowid(store->db);
    return dead_letter_sqlite_run_with(store, STATEMENT_TRIM_LOG, &act->number, 1);
}

/* Ends the transaction; where it fails, the line of the log is not there either. */
static int end(struct dead_letter_sqlite *store, bool good, const char *what,
               struct dead_letter_act *act, const struct dead_letter_act *before,
               struct fault *fault)
{
    int result = dead_letter_sqlite_end(store, good, what, fault);

    if (result != 0 && act)
        *act = *before;
    return result;
}

int dead_letter_sqlite_log(struct dead_letter_store *base, struct dead_letter_act *act,
                           struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    const struct dead_letter_act before = *act;

    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    return end(store, dead_letter_sqlite_write_act(store, act) == 0, "cannot write the log", act,
               &before, fault);
}

int dead_letter_sqlite_acts(struct dead_letter_store *base, uint32_t limit,
                            int (*each)(void *argument, const struct dead_letter_act *act),
                            void *argument, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    sqlite3_stmt *row = dead_letter_sqlite_statement(store, STATEMENT_ACTS);
    int code = SQLITE_ERROR, stop = 0;

    if (row)
        sqlite3_bind_int64(row, 1, limit ? (int64_t)limit : -1);
    while (row && !stop && (code = sqlite3_step(row)) == SQLITE_ROW) {
        const struct dead_letter_act act = {
            .number = sqlite3_column_int64(row, 0),
            .wall_us = sqlite3_column_int64(row, 1),
            .uid = (uint32_t)sqlite3_column_int64(row, 2),
            .login = (const char *)sqlite3_column_text(row, 3),
            .action = (const char *)sqlite3_column_text(row, 4),
            .detail = (const char *)sqlite3_column_text(row, 5),
            .count = (uint64_t)sqlite3_column_int64(row, 6),
            .failed = (uint64_t)sqlite3_column_int64(row, 7),
        };

        stop = each(argument, &act);
    }
    if (!stop && code != SQLITE_DONE)
        dead_letter_sqlite_fault(store, "cannot read the log", fault);
    if (row)
        sqlite3_reset(row);
    return stop || code == SQLITE_DONE ? 0 : -1;
}

/* ---- letters ---- */

struct chosen {
    int64_t kind, bytes;
    uint32_t edits;
};

/* 1: there; 0: gone; -1 with SQLite's error set. */
static int choose(struct dead_letter_sqlite *store, int64_t number, struct chosen *ret)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_CHOSEN);
    int code;

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, number);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret = (struct chosen){.kind = sqlite3_column_int64(statement, 0),
                               .edits = (uint32_t)sqlite3_column_int64(statement, 1),
                               .bytes = sqlite3_column_int64(statement, 2)};
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : -1;
}

/* Takes letters that were removed out of the tally, those of one kind and hour together. */
static int flush_taken(struct dead_letter_sqlite *store, struct dead_letter_tallies *taken)
{
    for (size_t i = 0; i < taken->count; i++) {
        const struct dead_letter_tally *tally = &taken->rows[i];

        if (dead_letter_sqlite_tally_take(store, tally->kind, tally->hour, tally->count,
                                          tally->bytes) != 0)
            return -1;
    }
    taken->count = 0;
    return 0;
}

/* False: there is no room for one more kind; flush first. */
static bool take_out(struct dead_letter_tallies *taken, const struct chosen *chosen, int64_t hour)
{
    for (size_t i = 0; i < taken->count; i++) {
        struct dead_letter_tally *tally = &taken->rows[i];

        if (tally->kind != chosen->kind || tally->hour != hour)
            continue;
        tally->count++;
        tally->bytes += chosen->bytes;
        return true;
    }
    if (taken->count == DEAD_LETTER_TALLIES)
        return false;
    taken->rows[taken->count++] = (struct dead_letter_tally){
        .kind = chosen->kind, .hour = hour, .count = 1, .bytes = chosen->bytes};
    return true;
}

/* One by one: they lie far from each other, or in no order. */
static int64_t remove_each(struct dead_letter_sqlite *store, const int64_t *numbers,
                           const uint32_t *edits, size_t count, const struct dead_letter_end *how)
{
    struct dead_letter_tallies taken = {.count = 0};
    int64_t removed = 0;

    for (size_t i = 0; i < count; i++) {
        int64_t hour = numbers[i] / DEAD_LETTER_HOUR;
        struct chosen chosen;
        int there = choose(store, numbers[i], &chosen);

        if (there < 0)
            return -1;
        if (!there || (edits && chosen.edits != edits[i]))
            continue;
        if (!take_out(&taken, &chosen, hour) &&
            (flush_taken(store, &taken) != 0 || !take_out(&taken, &chosen, hour)))
            return -1;
        if (dead_letter_sqlite_run_with(store, STATEMENT_DELETE_LETTER, &numbers[i], 1) != 0 ||
            dead_letter_sqlite_run_with(store, STATEMENT_DELETE_BODY, &numbers[i], 1) != 0 ||
            dead_letter_sqlite_collected_ends(store, numbers[i], numbers[i], how) != 0)
            return -1;
        removed++;
    }
    return flush_taken(store, &taken) == 0 ? removed : -1;
}

/* ---- many that lie together: whole runs are removed by their first and last number ---- */

#define RUN_LEAST  64 /* letters, below which it is not worth it */
#define RUN_SPARSE 4  /* letters looked at for each to be removed: else they lie too far apart */

struct run {
    int64_t first, last;
};

/* Of the letters to be removed, those at the beginning that were looked at. */
struct window {
    struct run *runs;
    size_t run_count;
    size_t used; /* numbers that are dealt with */
    int64_t removed;
    bool sparse;
};

/* Finds the runs. 0, or -1 with SQLite's error set. */
static int find_runs(struct dead_letter_sqlite *store, const int64_t *numbers, const uint32_t *edits,
                     size_t count, struct dead_letter_tallies *taken, struct window *window)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_CHOSEN_RANGE);
    bool broken = true, full = false;
    size_t looked = 0, i = 0;
    int code = SQLITE_ROW;

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, numbers[0]);
    sqlite3_bind_int64(statement, 2, numbers[count - 1]);
    while (!window->sparse && !full && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct chosen chosen = {.kind = sqlite3_column_int64(statement, 0),
                                .edits = (uint32_t)sqlite3_column_int64(statement, 1),
                                .bytes = sqlite3_column_int64(statement, 2)};
        int64_t number = sqlite3_column_int64(statement, 3);

        while (i < count && numbers[i] < number)
            i++; /* somebody removed it */
        window->sparse = ++looked > RUN_SPARSE * count;
        if (i == count || numbers[i] != number || (edits && edits[i] != chosen.edits)) {
            broken = true; /* one that stays */
            continue;
        }
        full = !take_out(taken, &chosen, number / DEAD_LETTER_HOUR);
        if (full)
            break;
        if (broken)
            window->runs[window->run_count++] = (struct run){number, number};
        window->runs[window->run_count - 1].last = number;
        window->removed++;
        broken = false;
        i++;
    }
    sqlite3_reset(statement);
    window->used = code == SQLITE_DONE ? count : i;
    return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : -1;
}

static int remove_run(struct dead_letter_sqlite *store, const struct run *run,
                      const struct dead_letter_end *how)
{
    const int64_t ends[] = {run->first, run->last};
    bool one = run->first == run->last;
    int count = one ? 1 : 2;

    if (dead_letter_sqlite_run_with(store, one ? STATEMENT_DELETE_LETTER : STATEMENT_DELETE_LETTERS,
                                    ends, count) != 0 ||
        dead_letter_sqlite_run_with(store, one ? STATEMENT_DELETE_BODY : STATEMENT_DELETE_BODIES, ends,
                                    count) != 0)
        return -1;
    return dead_letter_sqlite_collected_ends(store, run->first, run->last, how);
}

/* Numbers grow. How many were removed of the first *ret_used, or -1. */
static int64_t remove_runs(struct dead_letter_sqlite *store, const int64_t *numbers,
                           const uint32_t *edits, size_t count, const struct dead_letter_end *how,
                           size_t *ret_used)
{
    struct run *runs = memory_new(count * sizeof *runs);
    int64_t removed = 0;
    bool sparse = false;
    int result = 0;

    *ret_used = 0;
    while (result == 0 && !sparse && *ret_used < count) {
        struct dead_letter_tallies taken = {.count = 0};
        struct window window = {.runs = runs};

        result = find_runs(store, numbers + *ret_used, edits ? edits + *ret_used : NULL,
                           count - *ret_used, &taken, &window);
        for (size_t i = 0; result == 0 && i < window.run_count; i++)
            result = remove_run(store, &runs[i], how);
        if (result == 0)
            result = flush_taken(store, &taken);
        removed += window.removed;
        sparse = window.sparse;
        *ret_used += window.used;
    }
    free(runs);
    return result == 0 ? removed : -1;
}

static bool grow(const int64_t *numbers, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (numbers[i - 1] >= numbers[i])
            return false;
    return true;
}

static int64_t remove_all(struct dead_letter_sqlite *store, const int64_t *numbers,
                          const uint32_t *edits, size_t count, const struct dead_letter_act *act)
{
    struct dead_letter_end how;
    int64_t removed = 0, more;
    size_t used = 0;

    if (dead_letter_sqlite_end_of(store, act, &how) != 0)
        return -1;
    if (count >= RUN_LEAST && grow(numbers, count))
        removed = remove_runs(store, numbers, edits, count, &how, &used);
    if (removed < 0)
        return -1;
    more = remove_each(store, numbers + used, edits ? edits + used : NULL, count - used, &how);
    return more < 0 ? -1 : removed + more;
}

int64_t dead_letter_sqlite_remove(struct dead_letter_store *base, const int64_t *numbers,
                                  const uint32_t *edits, size_t count, struct dead_letter_act *act,
                                  struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    struct dead_letter_act before = {0};
    int64_t removed;

    if (act)
        before = *act;
    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    removed = remove_all(store, numbers, edits, count, act);
    if (removed >= 0 && act)
        act->count += (uint64_t)removed;
    return end(store, removed >= 0 && dead_letter_sqlite_write_act(store, act) == 0,
               "cannot remove letters", act, &before, fault) == 0
               ? removed
               : -1;
}

static int64_t payload_size(struct dead_letter_sqlite *store, int64_t number)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_PAYLOAD_SIZE);
    int64_t size = -1;

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, number);
    if (sqlite3_step(statement) == SQLITE_ROW)
        size = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return size;
}

static int replace_payload(struct dead_letter_sqlite *store, int64_t number, bool first,
                           struct sluice_bytes payload)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_EDIT_BODY);
    int code;

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, number);
    sqlite3_bind_blob64(statement, 2, payload.size ? payload.data : "", payload.size,
                        SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, first);
    code = dead_letter_sqlite_finish(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_OK ? 0 : -1;
}

/* 1: edited; 0: gone, or edited by somebody else; -1 with SQLite's error set. */
static int edit_one(struct dead_letter_sqlite *store, const struct dead_letter_edit *edit)
{
    struct dead_letter_tallies tallies = {.count = 0};
    struct chosen chosen;
    int there = choose(store, edit->number, &chosen);
    int64_t before, more;

    if (there <= 0 || chosen.edits != edit->edits)
        return there < 0 ? -1 : 0;
    before = payload_size(store, edit->number);
    more = (int64_t)edit->payload.size - before;
    if (before < 0 || replace_payload(store, edit->number, !chosen.edits, edit->payload) != 0 ||
        dead_letter_sqlite_run_with(store, STATEMENT_EDIT_LETTER,
                                    (const int64_t[]){edit->number, more}, 2) != 0 ||
        dead_letter_sqlite_tally_take(store, chosen.kind, edit->number / DEAD_LETTER_HOUR, 1,
                                      chosen.bytes) != 0 ||
        dead_letter_sqlite_tally_add(store, &tallies, chosen.kind, edit->number,
                                     chosen.bytes + more) != 0 ||
        dead_letter_sqlite_tally_flush(store, &tallies) != 0)
        return -1;
    return 1;
}

int64_t dead_letter_sqlite_edit(struct dead_letter_store *base, struct dead_letter_edit *edits,
                                size_t count, struct dead_letter_act *act, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    struct dead_letter_act before = {0};
    int64_t edited = 0;
    bool good = true;

    if (act)
        before = *act;
    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    for (size_t i = 0; good && i < count; i++) {
        int done = edit_one(store, &edits[i]);

        good = done >= 0;
        edits[i].done = done > 0;
        edited += done > 0;
    }
    if (good && act) {
        act->count += (uint64_t)edited;
        act->failed += count - (uint64_t)edited;
    }
    return end(store, good && dead_letter_sqlite_write_act(store, act) == 0,
               "cannot edit letters", act, &before, fault) == 0
               ? edited
               : -1;
}

int dead_letter_sqlite_force(struct dead_letter_store *base, const int64_t *numbers, size_t count,
                             struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    bool good = true;

    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    for (size_t i = 0; good && i < count; i++)
        good = dead_letter_sqlite_run_with(store, STATEMENT_FORCE, &numbers[i], 1) == 0;
    return dead_letter_sqlite_end(store, good, "cannot write", fault);
}
