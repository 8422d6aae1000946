/* SPDX-License-Identifier: MIT
 * The local dead-letter store's inside, shared by its files only.
 *
 * A letter's number is the time of its death in microseconds, made unique: it is the order of `ls`,
 * the range of `--since`, and what its id leads to. Small tables stand for what repeats: mapping,
 * lane, error (folded reasons) and kind, the combination by which letters are chosen and counted.
 * `tally` counts letters by kind and hour in the transaction that changes them, so that summaries
 * read hundreds of rows and not millions. The view `letters` is for people with sqlite3. */
#ifndef IO_DEAD_LETTER_STORE_SQLITE_H
#define IO_DEAD_LETTER_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "io/dead_letter_store.h"

#define DEAD_LETTER_HOUR (INT64_C(3600) * 1000000)

enum dead_letter_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_NEWEST,
    STATEMENT_TAKEN,
    STATEMENT_FIND_MAPPING,
    STATEMENT_ADD_MAPPING,
    STATEMENT_FIND_LANE,
    STATEMENT_ADD_LANE,
    STATEMENT_FIND_ERROR,
    STATEMENT_ADD_ERROR,
    STATEMENT_COUNT_ERRORS,
    STATEMENT_FIND_KIND,
    STATEMENT_ADD_KIND,
    STATEMENT_ADD_LETTER,
    STATEMENT_FIND_LETTER,
    STATEMENT_UPDATE_LETTER,
    STATEMENT_ADD_BODY,
    STATEMENT_UPDATE_BODY,
    STATEMENT_ADD_TALLY,
    STATEMENT_FIX_TALLY,
    STATEMENT_CLEAN_TALLY,
    STATEMENT_ANY_OLD,
    STATEMENT_OLD_LETTERS,
    STATEMENT_DELETE_LETTER,
    STATEMENT_DELETE_BODY,
    STATEMENT_PAGE,
    STATEMENT_PAGE_OF_KIND,
    STATEMENT_KINDS,
    STATEMENT_ROW,
    STATEMENT_ROW_WITH_PAYLOAD,
    STATEMENT_ID,
    STATEMENTS
};

/* A number that stands for a text in the small tables; found by a 128-bit hash of what it stands
 * for. A place that another one takes is looked up again. */
struct dead_letter_number {
    uint64_t hash[2];
    int64_t number; /* 0: nothing here */
};

#define DEAD_LETTER_NUMBERS 4096

struct dead_letter_sqlite {
    struct dead_letter_store base;
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[STATEMENTS];
    struct dead_letter_number *numbers; /* DEAD_LETTER_NUMBERS of them; a writer's only */
    uint64_t random;
    struct buffer text; /* attempts and headers on their way in */
};

/* The statement, ready to bind; NULL where it cannot be prepared (sqlite3_errcode says why). */
sqlite3_stmt *dead_letter_sqlite_statement(struct dead_letter_sqlite *store,
                                           enum dead_letter_statement which);
/* Runs a statement without parameters or result. SQLite's code. */
int dead_letter_sqlite_run(struct dead_letter_sqlite *store, enum dead_letter_statement which);
/* Steps a statement that returns no rows, then resets it. SQLite's code, 0 for done. */
int dead_letter_sqlite_finish(sqlite3_stmt *statement);
/* Says what went wrong for people, with path and cure. Returns -1. */
int dead_letter_sqlite_fault(struct dead_letter_sqlite *store, const char *what,
                             struct fault *fault);

/* dead_letter_store_sqlite_write.c */
int dead_letter_sqlite_add(struct dead_letter_store *base, struct dead_letter *letters,
                           size_t count, struct fault *fault);
/* dead_letter_store_sqlite_expire.c */
int64_t dead_letter_sqlite_expire(struct dead_letter_store *base, const char *mapping,
                                  int64_t before_wall_us, uint32_t most, struct fault *fault);
/* dead_letter_store_sqlite_read.c */
int dead_letter_sqlite_list(struct dead_letter_store *base, const struct dead_letter_query *query,
                            int with_payload,
                            int (*each)(void *argument, const struct dead_letter *letter),
                            void *argument, struct fault *fault);
/* dead_letter_store_sqlite_group.c */
int dead_letter_sqlite_group(struct dead_letter_store *base, const struct dead_letter_query *query,
                             const char *field,
                             int (*each)(void *argument, const struct dead_letter_group *),
                             void *argument, struct fault *fault);
int dead_letter_sqlite_count(struct dead_letter_store *base, const struct dead_letter_query *query,
                             uint64_t *ret_count, struct fault *fault);

/* dead_letter_store_sqlite_body.c: attempts as JSON ([[wall_us, duration_us, status, batch_size,
 * outcome, error], ...]) and headers as bytes (for each: name size, value size + 1 or 0 for absent,
 * 32 bits little-endian each, name, value). */
void dead_letter_sqlite_write_attempts(struct buffer *buffer, const struct dead_letter *letter);
size_t dead_letter_sqlite_read_attempts(const char *text, size_t size,
                                        struct dead_letter_attempt ret[DEAD_LETTER_ATTEMPTS]);
void dead_letter_sqlite_write_headers(struct buffer *buffer, const struct dead_letter *letter);
/* Returns the count; *ret_headers is to be freed and points into `bytes`. */
size_t dead_letter_sqlite_read_headers(const void *bytes, size_t size,
                                       struct sluice_header **ret_headers);

#endif
