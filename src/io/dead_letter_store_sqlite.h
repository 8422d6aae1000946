/* SPDX-License-Identifier: MIT
 * The local dead-letter store's inside, shared by its files only.
 *
 * A letter's number is the time of its death in microseconds, made unique: it is the order of `ls`,
 * the range of `--since`, and what its id leads to. Small tables stand for what repeats: mapping,
 * lane, error (folded reasons) and kind, the combination by which letters are chosen and counted.
 * `tally` counts letters by kind and hour in the transaction that changes them, so that summaries
 * read hundreds of rows and not millions. `part` keeps letters that come together, or go together,
 * together in the index of tokens, which mostly are in no order. The view `letters` is for people
 * with sqlite3. */
#ifndef IO_DEAD_LETTER_STORE_SQLITE_H
#define IO_DEAD_LETTER_STORE_SQLITE_H

#include <regex.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "io/dead_letter_store.h"

#define DEAD_LETTER_FORMAT 5 /* of the file */
#define DEAD_LETTER_HOUR (INT64_C(3600) * 1000000)
/* Pages in the journal, of 4 KiB, before a commit takes them over into the file. Many: then what one batch
 * after the other changes, as the indexes' pages, is taken over once. */
#define DEAD_LETTER_JOURNAL_PAGES 8000

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
    STATEMENT_REPLAYED,
    STATEMENT_UPDATE_REPLAYED,
    STATEMENT_ADD_BODY,
    STATEMENT_UPDATE_BODY,
    STATEMENT_ADD_TALLY,
    STATEMENT_FIX_TALLY,
    STATEMENT_CLEAN_TALLY,
    STATEMENT_ANY_OLD,
    STATEMENT_OLD_LETTERS,
    STATEMENT_DELETE_LETTER,
    STATEMENT_DELETE_BODY,
    STATEMENT_DELETE_LETTERS,
    STATEMENT_DELETE_BODIES,
    STATEMENT_CHOSEN,
    STATEMENT_CHOSEN_RANGE,
    STATEMENT_EDIT_LETTER,
    STATEMENT_EDIT_BODY,
    STATEMENT_PAYLOAD_SIZE,
    STATEMENT_FORCE,
    STATEMENT_FIND_ID,
    STATEMENT_USAGE,
    STATEMENT_ADD_ACT,
    STATEMENT_UPDATE_ACT,
    STATEMENT_TRIM_LOG,
    STATEMENT_ACTS,
    STATEMENT_ROW,
    STATEMENT_ROW_WITH_PAYLOAD,
    STATEMENT_MESSAGES,
    STATEMENT_BEGIN_READ,
    STATEMENT_ID,
    STATEMENT_FIND_PLACE,
    STATEMENT_ADD_PLACE,
    STATEMENT_COLLECT,
    STATEMENT_TRIM_COLLECTED,
    STATEMENT_COLLECTED_HERE,
    STATEMENT_COLLECTED_ENDS,
    STATEMENT_COLLECTED,
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
    regex_t error;      /* of the query that is being read */
    bool has_error;
    struct filter *where; /* likewise; NULL: none */
    struct buffer unescaped; /* scratch for it */
};

/* dead_letter_store_sqlite_schema.c */

/* The version of the file, 0 for an empty one; -1 with a fault for what is none of ours or newer. */
int dead_letter_sqlite_version(struct dead_letter_sqlite *store, struct fault *fault);
/* Makes the tables, or brings those of an older version up to date, in one transaction. */
int dead_letter_sqlite_upgrade(struct dead_letter_sqlite *store, struct fault *fault);

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

/* Begins to write. 0, or -1 with a fault. */
int dead_letter_sqlite_begin(struct dead_letter_sqlite *store, struct fault *fault);
/* Ends a transaction: commits where `good`, else (or where that fails) says what went wrong and rolls
 * back. 0 or -1. */
int dead_letter_sqlite_end(struct dead_letter_sqlite *store, bool good, const char *what,
                           struct fault *fault);
/* Binds integers from parameter 1 on and runs. 0, or -1 with SQLite's error set. */
int dead_letter_sqlite_run_with(struct dead_letter_sqlite *store, enum dead_letter_statement which,
                                const int64_t *numbers, int count);

/* dead_letter_store_sqlite_filter.c: a query as SQL over the table `letter`. Parameters are named;
 * `:since` and `:until` are bound by the caller. */

/* Compiles what needs it, until dead_letter_sqlite_filter_end. -1 with a fault. */
int dead_letter_sqlite_filter_begin(struct dead_letter_sqlite *store,
                                    const struct dead_letter_query *query, struct fault *fault);
void dead_letter_sqlite_filter_end(struct dead_letter_sqlite *store);
/* Whether kinds and times alone say what the query chooses, so that the tally can be asked. */
bool dead_letter_sqlite_filter_is_tallied(const struct dead_letter_query *query);
/* Whether it chooses among kinds. */
bool dead_letter_sqlite_filter_has_kinds(const struct dead_letter_query *query);
/* Appends ` AND ...` for what is asked of kinds (as a condition on the tables kind and mapping), and
 * of the letter itself. */
void dead_letter_sqlite_filter_kinds(struct buffer *sql, const struct dead_letter_query *query);
void dead_letter_sqlite_filter_letters(struct buffer *sql, const struct dead_letter_query *query);
/* Binds what both of them named. */
void dead_letter_sqlite_filter_bind(sqlite3_stmt *statement,
                                    const struct dead_letter_query *query);
/* Prepares the SQL; NULL with a fault. Frees the text. */
sqlite3_stmt *dead_letter_sqlite_prepare(struct dead_letter_sqlite *store, struct buffer *sql,
                                         struct fault *fault);
/* `since <= number < until` of the query and its id prefix; false where nothing can match. */
bool dead_letter_sqlite_filter_range(const struct dead_letter_query *query, int64_t *ret_since,
                                     int64_t *ret_until);

/* dead_letter_store_sqlite_write.c */
int dead_letter_sqlite_add(struct dead_letter_store *base, struct dead_letter *letters,
                           size_t count, struct fault *fault);
int64_t dead_letter_sqlite_import(struct dead_letter_store *base, struct dead_letter *letters,
                                  size_t count, struct dead_letter_act *act, struct fault *fault);
/* The number of the place where it was found; -1 with SQLite's error set. */
int64_t dead_letter_sqlite_place(struct dead_letter_sqlite *store, const struct dead_letter *letter);
/* Lane and kind of a letter; `mapping` not 0: the number of its mapping. 0, or -1 with SQLite's error
 * set. */
int dead_letter_sqlite_classify(struct dead_letter_sqlite *store, const struct dead_letter *letter,
                                int64_t mapping, int64_t *ret_lane, int64_t *ret_kind);

/* dead_letter_store_sqlite_tally.c: what a transaction changes of the table `tally`. */
#define DEAD_LETTER_TALLIES 64 /* before they are written */
struct dead_letter_tallies {
    struct dead_letter_tally {
        int64_t kind, hour, count, first, last, bytes;
    } rows[DEAD_LETTER_TALLIES];
    size_t count;
};
/* All: 0, or -1 with SQLite's error set. */
int dead_letter_sqlite_tally_add(struct dead_letter_sqlite *store,
                                 struct dead_letter_tallies *tallies, int64_t kind, int64_t number,
                                 int64_t bytes);
int dead_letter_sqlite_tally_flush(struct dead_letter_sqlite *store,
                                   struct dead_letter_tallies *tallies);
/* Takes letters that were removed out; flush before. */
int dead_letter_sqlite_tally_take(struct dead_letter_sqlite *store, int64_t kind, int64_t hour,
                                  int64_t count, int64_t bytes);

/* dead_letter_store_sqlite_replayed.c: a letter that died again, back to its row. */
int dead_letter_sqlite_add_replayed(struct dead_letter_sqlite *store,
                                    struct dead_letter_tallies *tallies,
                                    struct dead_letter *letter);

/* dead_letter_store_sqlite_collected.c: what became of letters that a place keeps. Within a transaction:
 * 0, or -1 with SQLite's error set. */

/* The letter of that number has a `found_lane`. */
int dead_letter_sqlite_collect(struct dead_letter_sqlite *store, const struct dead_letter *letter,
                               int64_t number);
/* How letters end that are removed now. `any` false: none of those here was collected, and nothing is to be
 * written. */
struct dead_letter_end {
    bool any;
    enum dead_letter_fate fate;
    int64_t wall_us;
};
/* By whom they are removed; NULL: nobody. */
int dead_letter_sqlite_end_of(struct dead_letter_sqlite *store, const struct dead_letter_act *act,
                              struct dead_letter_end *ret_end);
/* Letters of these numbers are removed. */
int dead_letter_sqlite_collected_ends(struct dead_letter_sqlite *store, int64_t first, int64_t last,
                                      const struct dead_letter_end *end);
int dead_letter_sqlite_collected(struct dead_letter_store *base, const char *connector,
                                 const char *lane, uint64_t position, int64_t written_wall_us,
                                 struct dead_letter_collected *ret_collected, struct fault *fault);

/* dead_letter_store_sqlite_expire.c */
int64_t dead_letter_sqlite_expire(struct dead_letter_store *base, const char *mapping,
                                  int64_t before_wall_us, uint32_t most, struct fault *fault);
/* dead_letter_store_sqlite_read.c */
int dead_letter_sqlite_list(struct dead_letter_store *base, const struct dead_letter_query *query,
                            int with_payload, dead_letter_each_fn each, void *argument,
                            struct fault *fault);
int dead_letter_sqlite_read(struct dead_letter_store *base, int64_t number,
                            dead_letter_each_fn each, void *argument, struct fault *fault);
int dead_letter_sqlite_read_messages(struct dead_letter_store *base, const int64_t *numbers,
                                     size_t count, dead_letter_each_fn each, void *argument,
                                     struct fault *fault);
int dead_letter_sqlite_select(struct dead_letter_store *base, const struct dead_letter_query *query,
                              struct dead_letter_place **ret_places, size_t *ret_count,
                              struct fault *fault);
/* dead_letter_store_sqlite_row.c: the letter of that number. 1: there was none; 0, or what `each`
 * returned (as -2) where it is not 0; -1 with SQLite's error set. */
enum { DEAD_LETTER_ROW_SHOWN, DEAD_LETTER_ROW_GONE, DEAD_LETTER_ROW_STOP };
int dead_letter_sqlite_row(struct dead_letter_sqlite *store, int64_t number, int with_payload,
                           dead_letter_each_fn each, void *argument);
/* The present row of STATEMENT_MESSAGES. What `each` returned. */
int dead_letter_sqlite_message(sqlite3_stmt *row, dead_letter_each_fn each, void *argument);
/* dead_letter_store_sqlite_group.c */
int dead_letter_sqlite_group(struct dead_letter_store *base, const struct dead_letter_query *query,
                             const char *field,
                             int (*each)(void *argument, const struct dead_letter_group *),
                             void *argument, struct fault *fault);
int dead_letter_sqlite_trend(struct dead_letter_store *base, const struct dead_letter_query *query,
                             const char *field, int64_t step_us,
                             int (*each)(void *argument, const char *value, size_t value_size,
                                         uint64_t step, uint64_t count),
                             void *argument, struct fault *fault);
int dead_letter_sqlite_count(struct dead_letter_store *base, const struct dead_letter_query *query,
                             uint64_t *ret_count, struct fault *fault);
int dead_letter_sqlite_usage(struct dead_letter_store *base, const char *mapping,
                             struct dead_letter_usage *ret_usage, struct fault *fault);
/* dead_letter_store_sqlite_change.c */
int64_t dead_letter_sqlite_remove(struct dead_letter_store *base, const int64_t *numbers,
                                  const uint32_t *edits, size_t count, struct dead_letter_act *act,
                                  struct fault *fault);
int64_t dead_letter_sqlite_edit(struct dead_letter_store *base, struct dead_letter_edit *edits,
                                size_t count, struct dead_letter_act *act, struct fault *fault);
int dead_letter_sqlite_force(struct dead_letter_store *base, const int64_t *numbers, size_t count,
                             struct fault *fault);
int dead_letter_sqlite_log(struct dead_letter_store *base, struct dead_letter_act *act,
                           struct fault *fault);
int dead_letter_sqlite_acts(struct dead_letter_store *base, uint32_t limit,
                            int (*each)(void *argument, const struct dead_letter_act *act),
                            void *argument, struct fault *fault);
/* Within a transaction; `act` may be NULL. 0, or -1 with SQLite's error set. */
int dead_letter_sqlite_write_act(struct dead_letter_sqlite *store, struct dead_letter_act *act);

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
