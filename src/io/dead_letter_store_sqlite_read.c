/* SPDX-License-Identifier: MIT
 * Listing letters, newest first, a page of numbers at a time: no long read keeps the writer's
 * journal from being taken over. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "io/dead_letter_store_id.h"
#include "io/dead_letter_store_sqlite.h"

#define PAGE 256

struct listing {
    const struct dead_letter_query *query;
    int64_t since, until; /* of numbers */
    int64_t *kinds;       /* NULL: any */
    size_t kind_count;
    int64_t page[PAGE]; /* newest first */
    size_t page_count;
    uint32_t left;
};

static void bind_text_or_null(sqlite3_stmt *statement, int index, const char *text)
{
    if (text)
        sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(statement, index);
}

static int find_kinds(struct dead_letter_sqlite *store, struct listing *listing)
{
    sqlite3_stmt *statement;
    size_t room = 0;
    int code;

    if (!listing->query->mapping && !listing->query->class_name && !listing->query->status)
        return 0;
    statement = dead_letter_sqlite_statement(store, STATEMENT_KINDS);
    if (!statement)
        return -1;
    bind_text_or_null(statement, 1, listing->query->mapping);
    bind_text_or_null(statement, 2, listing->query->class_name);
    sqlite3_bind_int64(statement, 3, listing->query->status);
    listing->kinds = memory_new(1);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (listing->kind_count == room) {
            room = room ? room * 2 : 64;
            listing->kinds = memory_resize(listing->kinds, room, sizeof *listing->kinds);
        }
        listing->kinds[listing->kind_count++] = sqlite3_column_int64(statement, 0);
    }
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? 0 : -1;
}

static void insert_number(struct listing *listing, int64_t number, size_t room)
{
    size_t at = listing->page_count;

    while (at > 0 && listing->page[at - 1] < number)
        at--;
    if (at >= room)
        return;
    if (listing->page_count < room)
        listing->page_count++;
    memmove(&listing->page[at + 1], &listing->page[at],
            (listing->page_count - at - 1) * sizeof *listing->page);
    listing->page[at] = number;
}

/* Adds the newest `room` numbers, of `kind` or (0) of any, that belong on the page. */
static int collect(struct dead_letter_sqlite *store, struct listing *listing, int64_t kind,
                   size_t room)
{
    sqlite3_stmt *statement =
        dead_letter_sqlite_statement(store, kind ? STATEMENT_PAGE_OF_KIND : STATEMENT_PAGE);
    int64_t since = listing->since;
    int code;

    if (!statement)
        return -1;
    if (listing->page_count == room && listing->page[room - 1] > since)
        since = listing->page[room - 1];
    if (kind)
        sqlite3_bind_int64(statement, 1, kind);
    sqlite3_bind_int64(statement, 2, since);
    sqlite3_bind_int64(statement, 3, listing->until);
    sqlite3_bind_int64(statement, 4, (int64_t)room);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        insert_number(listing, sqlite3_column_int64(statement, 0), room);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? 0 : -1;
}

static int next_page(struct dead_letter_sqlite *store, struct listing *listing)
{
    size_t room = listing->left && listing->left < PAGE ? listing->left : PAGE;

    listing->page_count = 0;
    if (!listing->kinds)
        return collect(store, listing, 0, room);
    for (size_t i = 0; i < listing->kind_count; i++)
        if (collect(store, listing, listing->kinds[i], room) != 0)
            return -1;
    return 0;
}

static const char *text_of(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    return text ? text : "";
}

static struct sluice_bytes bytes_of(sqlite3_stmt *row, int column)
{
    struct sluice_bytes bytes = {NULL, 0};

    if (sqlite3_column_type(row, column) == SQLITE_NULL)
        return bytes;
    bytes.data = sqlite3_column_blob(row, column);
    bytes.size = (size_t)sqlite3_column_bytes(row, column);
    if (!bytes.data)
        bytes.data = ""; /* SQLite's pointer to nothing */
    return bytes;
}

static enum dead_letter_class class_of(const char *name)
{
    for (int class = DEAD_ATTEMPTS; class <= DEAD_FILTERED; class ++)
        if (strcmp(dead_letter_class_name(class), name) == 0)
            return class;
    return 0;
}

static void fill(struct dead_letter *letter, sqlite3_stmt *row,
                 struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS])
{
    memset(letter, 0, sizeof *letter);
    letter->dead_wall_us = sqlite3_column_int64(row, 0);
    strncpy(letter->id, text_of(row, 1), sizeof letter->id - 1);
    letter->mapping = text_of(row, 2);
    letter->revision = text_of(row, 3);
    letter->connector = text_of(row, 4);
    letter->lane = text_of(row, 5);
    letter->source = text_of(row, 6);
    letter->partition = sqlite3_column_int(row, 7);
    letter->position = (uint64_t)sqlite3_column_int64(row, 8);
    letter->message_wall_us = sqlite3_column_int64(row, 9);
    letter->token = text_of(row, 10);
    letter->class = class_of(text_of(row, 11));
    letter->reason = text_of(row, 12);
    letter->status = (uint32_t)sqlite3_column_int64(row, 13);
    letter->attempt_count = (uint32_t)sqlite3_column_int64(row, 14);
    letter->first_wall_us = sqlite3_column_int64(row, 15);
    letter->last_wall_us = sqlite3_column_int64(row, 16);
    letter->replay_count = (uint32_t)sqlite3_column_int64(row, 17);
    letter->attempts = attempts;
    letter->attempts_kept = dead_letter_sqlite_read_attempts(
        text_of(row, 18), (size_t)sqlite3_column_bytes(row, 18), attempts);
    letter->response = bytes_of(row, 19);
}

/* 0, 1 where `each` wants no more, -1 with SQLite's error set. */
static int show(struct dead_letter_sqlite *store, struct listing *listing, int64_t number,
                int with_payload, int (*each)(void *, const struct dead_letter *), void *argument)
{
    struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS];
    const char *prefix = listing->query->id_prefix;
    struct sluice_header *headers = NULL;
    struct dead_letter letter;
    sqlite3_stmt *row = dead_letter_sqlite_statement(
        store, with_payload ? STATEMENT_ROW_WITH_PAYLOAD : STATEMENT_ROW);
    int code, stop = 0;

    if (!row)
        return -1;
    sqlite3_bind_int64(row, 1, number);
    code = sqlite3_step(row);
    if (code == SQLITE_ROW) { /* it may have been removed since the page was read */
        fill(&letter, row, attempts);
        if (with_payload) {
            struct sluice_bytes packed = bytes_of(row, 20);

            letter.header_count =
                dead_letter_sqlite_read_headers(packed.data, packed.size, &headers);
            letter.headers = headers;
            letter.key = bytes_of(row, 21);
            letter.payload = bytes_of(row, 22);
        }
        if (!prefix || strncasecmp(letter.id, prefix, strlen(prefix)) == 0) {
            stop = each(argument, &letter) != 0;
            if (listing->left && --listing->left == 0)
                stop = 1;
        }
        free(headers);
    }
    sqlite3_reset(row);
    return code == SQLITE_ROW || code == SQLITE_DONE ? stop : -1;
}

int dead_letter_sqlite_list(struct dead_letter_store *base, const struct dead_letter_query *query,
                            int with_payload,
                            int (*each)(void *argument, const struct dead_letter *letter),
                            void *argument, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    struct listing listing = {.query = query,
                              .since = query->since_wall_us,
                              .until = query->until_wall_us ? query->until_wall_us : INT64_MAX,
                              .left = query->limit};
    int64_t since, until;
    int result;

    if (query->id_prefix) {
        if (dead_letter_store_id_range(query->id_prefix, &since, &until) != 0)
            return 0;
        listing.since = since > listing.since ? since : listing.since;
        listing.until = until < listing.until ? until : listing.until;
    }
    result = find_kinds(store, &listing);
    while (result == 0) {
        result = next_page(store, &listing);
        if (result != 0 || !listing.page_count)
            break;
        for (size_t i = 0; result == 0 && i < listing.page_count; i++)
            result = show(store, &listing, listing.page[i], with_payload, each, argument);
        listing.until = listing.page[listing.page_count - 1];
    }
    if (result < 0)
        dead_letter_sqlite_fault(store, "cannot read", fault);
    free(listing.kinds);
    return result < 0 ? -1 : 0;
}
