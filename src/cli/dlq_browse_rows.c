/* SPDX-License-Identifier: MIT */
#include "cli/dlq_browse_rows.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define PREVIEW        200 /* bytes of a payload */
#define POSITION_WIDTH 24
#define ORIGIN_WIDTH   28
#define KEY_WIDTH      16
#define FATE_WIDTH     14
#define REASON_WIDTH   40

struct browse_row {
    int64_t dead_wall_us;
    uint32_t attempts;
    uint64_t number; /* in the order of reading */
    size_t bytes;    /* held for it */
    char *json;      /* as a line; else: */
    char age[DLQ_TIME], class[16], status[8], fate[DLQ_TIME + 16];
    char *position, *origin, *reason;
    char *key, *payload; /* their beginnings */
    size_t key_size, payload_size;
};

/* ---- one row ---- */

static char *copy(struct sluice_bytes bytes, size_t *ret_size)
{
    char *kept;

    *ret_size = bytes.data ? (bytes.size < PREVIEW ? bytes.size : PREVIEW) : 0;
    kept = memory_new(*ret_size);
    if (*ret_size)
        memcpy(kept, bytes.data, *ret_size);
    return kept;
}

/* `replayed 2h`: what became of it, and how long ago. */
static void write_fate(const struct dlq_screen *screen, const struct dead_letter_collected *collected,
                       char *ret_text, size_t room)
{
    char age[DLQ_TIME];

    if (!collected)
        snprintf(ret_text, room, "-");
    else if (collected->fate != DEAD_LETTER_HERE)
        snprintf(ret_text, room, "%s %s", browse_letter_fate(collected),
                 dlq_ago(screen, collected->ended_wall_us, age));
    else if (collected->replay_count)
        snprintf(ret_text, room, "died again %s", dlq_ago(screen, collected->replayed_wall_us, age));
    else
        snprintf(ret_text, room, "%s", browse_letter_fate(collected));
}

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static void fill_texts(const struct dlq_screen *screen, const struct browse_letter *found,
                       const struct dead_letter_collected *collected, struct browse_row *row)
{
    const struct dead_letter *letter = &found->letter;

    snprintf(row->class, sizeof row->class, "%s", dead_letter_class_name(letter->class));
    if (letter->status)
        snprintf(row->status, sizeof row->status, "%u", letter->status % 100000);
    else
        strcpy(row->status, "-");
    dlq_ago(screen, letter->dead_wall_us, row->age);
    write_fate(screen, collected, row->fate, sizeof row->fate);
    row->position = memory_format("%s/%llu", found->lane, (unsigned long long)found->position);
    if (found->foreign.has_position)
        row->origin =
            memory_format("%s/%llu", letter->lane, (unsigned long long)letter->position);
    else
        row->origin = memory_text(letter->source[0] ? letter->lane : "-");
    row->reason = memory_text(letter->reason);
    row->key = copy(letter->key, &row->key_size);
    row->payload = copy(letter->payload, &row->payload_size);
}

static void fill_row(const struct browse_rows *rows, const struct browse_letter *found,
                     const struct dead_letter_collected *collected, struct browse_row *row)
{
    const struct dead_letter *letter = &found->letter;

    *row = (struct browse_row){.dead_wall_us = letter->dead_wall_us,
                               .attempts = letter->attempt_count,
                               .number = rows->added};
    if (rows->json) {
        json_t *object = browse_letter_json(found, collected);

        row->json = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
        json_decref(object);
    } else {
        fill_texts(&rows->screen, found, collected, row);
    }
    row->bytes = sizeof *row + text_bytes(row->json) + text_bytes(row->position) +
                 text_bytes(row->origin) + text_bytes(row->reason) + row->key_size +
                 row->payload_size;
}

static void free_row(struct browse_row *row)
{
    free(row->json);
    free(row->position);
    free(row->origin);
    free(row->reason);
    free(row->key);
    free(row->payload);
}

static void cell(const char *text, size_t size, unsigned width)
{
    dlq_pad(dlq_line(text, size, width), width);
}

/* All but the last column. Returns the columns used. */
static unsigned print_cells(const struct dlq_screen *screen, const struct browse_row *row)
{
    unsigned used = POSITION_WIDTH + 2 + 5 + 2 + 9 + 2 + 6 + 2;

    dlq_style(screen, "dim");
    cell(row->position, strlen(row->position), POSITION_WIDTH);
    dlq_style(screen, "plain");
    cell(row->age, strlen(row->age), 5);
    cell(row->class, strlen(row->class), 9);
    cell(row->status, strlen(row->status), 6);
    if (screen->width >= 90) {
        cell(row->fate, strlen(row->fate), FATE_WIDTH);
        used += FATE_WIDTH + 2;
    }
    if (screen->width >= 126) {
        cell(row->origin, strlen(row->origin), ORIGIN_WIDTH);
        cell(row->key, row->key_size, KEY_WIDTH);
        used += ORIGIN_WIDTH + KEY_WIDTH + 4;
    }
    if (screen->width >= 166) {
        cell(row->reason, strlen(row->reason), REASON_WIDTH);
        used += REASON_WIDTH + 2;
    }
    return used;
}

static void print_row(struct browse_rows *rows, const struct browse_row *row)
{
    static const struct browse_row heads = {.position = (char *)"POSITION",
                                            .age = "AGE",
                                            .class = "CLASS",
                                            .status = "STATUS",
                                            .fate = "STATE",
                                            .origin = (char *)"ORIGIN",
                                            .key = (char *)"KEY",
                                            .key_size = 3,
                                            .reason = (char *)"REASON"};
    unsigned used, width = rows->screen.width;

    if (row->json) {
        puts(row->json);
        return;
    }
    if (!rows->headed) {
        print_cells(&rows->screen, &heads);
        puts("PAYLOAD");
        rows->headed = true;
    }
    used = print_cells(&rows->screen, row);
    dlq_line(row->payload, row->payload_size, width == UINT_MAX ? UINT_MAX
                                              : width > used    ? width - used
                                                                : 1);
    putchar('\n');
}

/* ---- which are shown ---- */

static enum dead_letter_sort sort_by;

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare(const void *left, const void *right)
{
    const struct browse_row *a = left, *b = right;
    int order = 0;

    if (sort_by == DEAD_LETTER_ATTEMPTS_MOST)
        order = compare_numbers(b->attempts, a->attempts);
    if (!order)
        order = compare_numbers((uint64_t)b->dead_wall_us, (uint64_t)a->dead_wall_us);
    if (!order)
        order = compare_numbers(b->number, a->number);
    return sort_by == DEAD_LETTER_OLDEST ? -order : order;
}

static void drop_last(struct browse_rows *rows)
{
    struct browse_row *row = &rows->rows[--rows->count];

    rows->bytes -= row->bytes;
    free_row(row);
}

static void keep_first(struct browse_rows *rows)
{
    if (!rows->count)
        return;
    sort_by = rows->sort;
    qsort(rows->rows, rows->count, sizeof *rows->rows, compare);
    while (rows->count > rows->limit)
        drop_last(rows);
}

static size_t bytes_most(const struct browse_rows *rows)
{
    return rows->bytes_most ? rows->bytes_most : BROWSE_BYTES_MOST;
}

/* So that what is shown has no gap, no more than are held now are shown once some were left out. */
static void cut(struct browse_rows *rows)
{
    keep_first(rows);
    if (rows->bytes <= bytes_most(rows))
        return;
    while (rows->count > 1 && rows->bytes > bytes_most(rows) / 4 * 3)
        drop_last(rows);
    rows->cut |= rows->limit > rows->count;
    rows->limit = (uint32_t)rows->count;
}

/* Held are at most twice as many as are shown. */
static void hold(struct browse_rows *rows, const struct browse_row *row)
{
    size_t most = (size_t)rows->limit * 2;

    if (rows->count == rows->room) {
        rows->room = rows->room ? rows->room * 2 : 64;
        rows->rows = memory_resize(rows->rows, rows->room, sizeof *rows->rows);
    }
    rows->rows[rows->count++] = *row;
    rows->bytes += row->bytes;
    if (rows->count >= most)
        keep_first(rows);
    if (rows->bytes > bytes_most(rows))
        cut(rows);
}

void browse_rows_add(struct browse_rows *rows, const struct browse_letter *letter,
                     const struct dead_letter_collected *collected)
{
    struct browse_row row;

    rows->added++;
    fill_row(rows, letter, collected, &row);
    if (rows->limit) {
        hold(rows, &row);
        return;
    }
    print_row(rows, &row);
    free_row(&row);
}

void browse_rows_end(struct browse_rows *rows)
{
    keep_first(rows);
    for (size_t i = 0; i < rows->count; i++)
        print_row(rows, &rows->rows[i]);
}

void browse_rows_fini(struct browse_rows *rows)
{
    while (rows->count)
        drop_last(rows);
    free(rows->rows);
    rows->rows = NULL;
    rows->room = 0;
}
