/* SPDX-License-Identifier: MIT
 * One row of the local dead-letter store as a letter. */
#include <stdlib.h>
#include <string.h>

#include "io/dead_letter_store_sqlite.h"
#include "io/sqlite.h"

static enum dead_letter_class class_of(const char *name)
{
    for (int class = DEAD_ATTEMPTS; class <= DEAD_LETTER_CLASS_LAST; class ++)
        if (strcmp(dead_letter_class_name(class), name) == 0)
            return class;
    return 0;
}

static void fill(struct dead_letter *letter, sqlite3_stmt *row,
                 struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS])
{
    memset(letter, 0, sizeof *letter);
    letter->dead_wall_us = sqlite3_column_int64(row, 0);
    strncpy(letter->id, sqlite_text(row, 1), sizeof letter->id - 1);
    letter->mapping = sqlite_text(row, 2);
    letter->revision = sqlite_text(row, 3);
    letter->connector = sqlite_text(row, 4);
    letter->lane = sqlite_text(row, 5);
    letter->source = sqlite_text(row, 6);
    letter->partition = sqlite3_column_int(row, 7);
    letter->position = (uint64_t)sqlite3_column_int64(row, 8);
    letter->message_wall_us = sqlite3_column_int64(row, 9);
    letter->token = sqlite_text(row, 10);
    letter->token_size = (size_t)sqlite3_column_bytes(row, 10);
    letter->class = class_of(sqlite_text(row, 11));
    letter->reason = sqlite_text(row, 12);
    letter->status = (uint32_t)sqlite3_column_int64(row, 13);
    letter->attempt_count = (uint32_t)sqlite3_column_int64(row, 14);
    letter->first_wall_us = sqlite3_column_int64(row, 15);
    letter->last_wall_us = sqlite3_column_int64(row, 16);
    letter->replay_count = (uint32_t)sqlite3_column_int64(row, 17);
    letter->attempts = attempts;
    letter->attempts_kept = dead_letter_sqlite_read_attempts(
        sqlite_text(row, 18), (size_t)sqlite3_column_bytes(row, 18), attempts);
    letter->response = sqlite_bytes(row, 19);
    letter->replayed_wall_us = sqlite3_column_int64(row, 20);
    letter->edit_count = (uint32_t)sqlite3_column_int64(row, 21);
    letter->forced = (uint32_t)sqlite3_column_int64(row, 22);
    letter->timestamp_kind = (uint32_t)sqlite3_column_int64(row, 23);
    letter->delivery_count = (uint32_t)sqlite3_column_int64(row, 24);
}

int dead_letter_sqlite_row(struct dead_letter_sqlite *store, int64_t number, int with_payload,
                           dead_letter_each_fn each, void *argument)
{
    struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS];
    struct sluice_header *headers = NULL;
    struct dead_letter letter;
    sqlite3_stmt *row = dead_letter_sqlite_statement(
        store, with_payload ? STATEMENT_ROW_WITH_PAYLOAD : STATEMENT_ROW);
    int code, result = DEAD_LETTER_ROW_GONE;

    if (!row)
        return -1;
    sqlite3_bind_int64(row, 1, number);
    code = sqlite3_step(row);
    if (code == SQLITE_ROW) {
        fill(&letter, row, attempts);
        if (with_payload) {
            struct sluice_bytes packed = sqlite_bytes(row, 25);

            letter.header_count =
                dead_letter_sqlite_read_headers(packed.data, packed.size, &headers);
            letter.headers = headers;
            letter.key = sqlite_bytes(row, 26);
            letter.payload = sqlite_bytes(row, 27);
            letter.original = sqlite_bytes(row, 28);
            letter.message_id = sqlite_bytes(row, 29);
            letter.identity = sqlite_bytes(row, 30);
        }
        result = each(argument, &letter) ? DEAD_LETTER_ROW_STOP : DEAD_LETTER_ROW_SHOWN;
        free(headers);
    }
    sqlite3_reset(row);
    return code == SQLITE_ROW || code == SQLITE_DONE ? result : -1;
}

int dead_letter_sqlite_message(sqlite3_stmt *row, dead_letter_each_fn each, void *argument)
{
    struct dead_letter letter = {.dead_wall_us = sqlite3_column_int64(row, 0)};
    struct sluice_bytes packed = sqlite_bytes(row, 9);
    struct sluice_header *headers = NULL;
    int result;

    strncpy(letter.id, sqlite_text(row, 1), sizeof letter.id - 1);
    letter.position = (uint64_t)sqlite3_column_int64(row, 2);
    letter.message_wall_us = sqlite3_column_int64(row, 3);
    letter.token = sqlite_text(row, 4);
    letter.token_size = (size_t)sqlite3_column_bytes(row, 4);
    letter.edit_count = (uint32_t)sqlite3_column_int64(row, 5);
    letter.forced = (uint32_t)sqlite3_column_int64(row, 6);
    letter.timestamp_kind = (uint32_t)sqlite3_column_int64(row, 7);
    letter.delivery_count = (uint32_t)sqlite3_column_int64(row, 8);
    if (packed.size)
        letter.header_count = dead_letter_sqlite_read_headers(packed.data, packed.size, &headers);
    letter.headers = headers;
    letter.key = sqlite_bytes(row, 10);
    letter.payload = sqlite_bytes(row, 11);
    letter.message_id = sqlite_bytes(row, 12);
    letter.identity = sqlite_bytes(row, 13);
    result = each(argument, &letter);
    free(headers);
    return result;
}
