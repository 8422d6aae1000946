/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/parked_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h" /* attempts and headers are written alike */
#include "io/sqlite.h"

#define FORMAT     1 /* of the file */
#define FORMAT_TEXT "1"
#define BUSY_MS    5000
#define TEXT_MOST  ((size_t)64 << 20)

#define APPLICATION      1936486507 /* "slpk": a file of sluice's, whatever its name */
#define APPLICATION_TEXT "1936486507"

static const char pragmas[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;" /* every commit is on the disk when it returns */
    "PRAGMA journal_size_limit = 67108864;"
    "PRAGMA cache_size = -2048;"
    "PRAGMA temp_store = MEMORY;";

/* Times are microseconds since 1970. position, queue, fingerprint: of 64 bits, so they show as negative
 * above 2^63. due: 0 while another of its queue is before it. attempts, headers: as in a dead letter's
 * body. A large payload is last, so that what is listed is read without it. */
static const char schema[] =
    "CREATE TABLE parked (number INTEGER PRIMARY KEY, mapping TEXT NOT NULL,"
    "  connector TEXT NOT NULL, revision TEXT, lane TEXT NOT NULL, source TEXT NOT NULL,"
    "  partition INTEGER NOT NULL, position INTEGER NOT NULL, due_wall_us INTEGER NOT NULL,"
    "  parked_wall_us INTEGER NOT NULL, queue INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    "  fingerprint INTEGER NOT NULL, token BLOB NOT NULL, has_token INTEGER NOT NULL,"
    "  message_wall_us INTEGER NOT NULL, timestamp_kind INTEGER NOT NULL,"
    "  delivery_count INTEGER NOT NULL, counted INTEGER NOT NULL, named INTEGER NOT NULL,"
    "  first_failed_wall_us INTEGER NOT NULL, attempt_count INTEGER NOT NULL,"
    "  first_wall_us INTEGER NOT NULL, last_wall_us INTEGER NOT NULL, status INTEGER NOT NULL,"
    "  error TEXT NOT NULL, attempts TEXT NOT NULL, response BLOB, identity BLOB, message_id BLOB,"
    "  headers BLOB, key BLOB, payload BLOB);"
    "PRAGMA application_id = " APPLICATION_TEXT ";"
    "PRAGMA user_version = " FORMAT_TEXT ";";

#define SHORT_COLUMNS                                                                              \
    "number, mapping, connector, revision, lane, source, partition, position, due_wall_us,"        \
    " parked_wall_us, queue, bytes, fingerprint, token, has_token, message_wall_us,"               \
    " timestamp_kind, delivery_count, counted, named, first_failed_wall_us, attempt_count,"        \
    " first_wall_us, last_wall_us, status, error"
#define LONG_COLUMNS SHORT_COLUMNS ", attempts, response, identity, message_id, headers, key, payload"
#define COLUMNS      33

enum statement { BEGIN, COMMIT, ROLLBACK, WRITE, REMOVE, READ, LIST, PARKED_STATEMENTS };

static const char *const sql[PARKED_STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [WRITE] = "INSERT OR REPLACE INTO parked (" LONG_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,"
              " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [REMOVE] = "DELETE FROM parked WHERE number = ?",
    [READ] = "SELECT " LONG_COLUMNS " FROM parked WHERE number = ?",
    [LIST] = "SELECT " SHORT_COLUMNS " FROM parked WHERE ?1 IS NULL OR mapping = ?1 ORDER BY number",
};

struct parked_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[PARKED_STATEMENTS];
    struct buffer text; /* attempts and headers on their way in */
};

static int say(const struct parked_store *store, const char *what, struct fault *fault)
{
    int code = store->db ? sqlite3_extended_errcode(store->db) : SQLITE_NOMEM;
    int system = store->db ? sqlite3_system_errno(store->db) : 0;

    if (store->text.full)
        return fault_set(fault, "%s: %s: a message's headers take more than %zu MiB", store->path,
                         what, TEXT_MOST >> 20);
    switch (code & 0xff) {
    case SQLITE_FULL:
        return fault_set(fault, "%s: %s: no space left; free some, writing goes on by itself",
                         store->path, what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return fault_set(fault,
                         "%s: %s: the file is damaged or not a store of parked messages; save what "
                         "can be read with `sqlite3 FILE .recover`, and move it away",
                         store->path, what);
    default:
        return fault_set(fault, "%s: %s: %s%s%s; run as the user that sluice runs as, or as root",
                         store->path, what, store->db ? sqlite3_errmsg(store->db) : "out of memory",
                         system ? ": " : "", system ? strerror(system) : "");
    }
}

/* ---- opening ---- */

static char *path_in(const char *directory)
{
    return memory_format("%s/parked.sqlite", directory);
}

/* 1: it is one, 0: it is empty, -1 with a fault. */
static int check_format(const struct parked_store *store, struct fault *fault)
{
    int64_t tables = sqlite_number(store->db, "SELECT count(*) FROM sqlite_schema");
    int64_t application = sqlite_number(store->db, "PRAGMA application_id");
    int64_t version = sqlite_number(store->db, "PRAGMA user_version");

    if (tables < 0 || application < 0 || version < 0)
        return say(store, "cannot open", fault);
    if (!tables && !application)
        return 0;
    if (application != APPLICATION)
        return fault_set(fault,
                         "%s: an SQLite file, but not a store of parked messages; move it away",
                         store->path);
    if (version < 1 || version > FORMAT)
        return fault_set(fault,
                         "%s: written by a newer sluice (format %lld, this one knows up to %d); "
                         "install that version again, or use another state directory",
                         store->path, (long long)version, FORMAT);
    return 1;
}

static int open_file(struct parked_store *store, bool write, struct fault *fault)
{
    int known;

    fault->text[0] = '\0';
    if (write && sqlite_make(store->path, fault) != 0)
        return -1;
    if (!write && access(store->path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return -1;
    if (sqlite_open(store->path, &store->db,
                    (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
                        SQLITE_OPEN_NOMUTEX) != SQLITE_OK)
        return say(store, "cannot open", fault);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    known = check_format(store, fault);
    if (known < 0)
        return -1;
    if (write && sqlite3_exec(store->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return say(store, "cannot set up", fault);
    if (write && !known && (sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) ||
                            sqlite3_exec(store->db, schema, NULL, NULL, NULL) ||
                            sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL)))
        return say(store, "cannot make", fault);
    return !write && !known ? -1 : 0;
}

struct parked_store *parked_store_open(const char *directory, bool write, struct fault *fault)
{
    struct parked_store *store = memory_zero(1, sizeof *store);

    store->path = path_in(directory);
    buffer_init(&store->text, TEXT_MOST);
    if (open_file(store, write, fault) != 0) {
        parked_store_close(store);
        return NULL;
    }
    return store;
}

void parked_store_close(struct parked_store *store)
{
    if (!store)
        return;
    for (unsigned i = 0; i < PARKED_STATEMENTS; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    buffer_fini(&store->text);
    free(store->path);
    free(store);
}

/* ---- statements ---- */

static sqlite3_stmt *prepared(struct parked_store *store, enum statement which)
{
    if (!store->statements[which])
        sqlite3_prepare_v3(store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &store->statements[which], NULL);
    return store->statements[which];
}

/* Steps one that returns no rows. */
static bool finish(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    sqlite3_reset(statement);
    return code == SQLITE_DONE;
}

static bool run(struct parked_store *store, enum statement which)
{
    sqlite3_stmt *statement = prepared(store, which);

    return statement && finish(statement);
}

/* Ends a transaction: commits where all went well. */
static int end(struct parked_store *store, bool good, const char *what, struct fault *fault)
{
    if (good && run(store, COMMIT))
        return 0;
    say(store, what, fault);
    if (!sqlite3_get_autocommit(store->db))
        run(store, ROLLBACK);
    return -1;
}

/* ---- writing ---- */

static void bind_text(sqlite3_stmt *row, int column, const char *text)
{
    sqlite3_bind_text(row, column, text ? text : "", -1, SQLITE_STATIC);
}

static void bind_bytes(sqlite3_stmt *row, int column, struct sluice_bytes bytes)
{
    if (!bytes.data)
        sqlite3_bind_null(row, column);
    else if (!bytes.size)
        sqlite3_bind_zeroblob(row, column, 0);
    else
        sqlite3_bind_blob64(row, column, bytes.data, bytes.size, SQLITE_STATIC);
}

static const char *last_error(const struct dead_letter *letter)
{
    return letter->attempts_kept ? letter->attempts[letter->attempts_kept - 1].error : "";
}

static void bind_short(sqlite3_stmt *row, const struct parked *parked)
{
    const struct dead_letter *letter = &parked->letter;
    const int64_t numbers[] = {
        letter->partition,       (int64_t)letter->position,  parked->due_wall_us,
        parked->parked_wall_us,  (int64_t)parked->queue,     (int64_t)parked->bytes,
        (int64_t)parked->fingerprint};
    const int64_t more[] = {
        parked->has_token,        letter->message_wall_us, letter->timestamp_kind,
        letter->delivery_count,   parked->attempts,        parked->named,
        parked->first_failed_wall_us, letter->attempt_count, letter->first_wall_us,
        letter->last_wall_us,     letter->status};

    sqlite3_bind_int64(row, 1, parked->number);
    bind_text(row, 2, letter->mapping);
    bind_text(row, 3, letter->connector);
    bind_text(row, 4, letter->revision);
    bind_text(row, 5, letter->lane);
    bind_text(row, 6, letter->source);
    for (int i = 0; i < 7; i++)
        sqlite3_bind_int64(row, 7 + i, numbers[i]);
    bind_bytes(row, 14, (struct sluice_bytes){letter->token, dead_letter_token_size(letter)});
    for (int i = 0; i < 11; i++)
        sqlite3_bind_int64(row, 15 + i, more[i]);
    bind_text(row, 26, last_error(letter));
}

static bool write_row(struct parked_store *store, const struct parked *parked)
{
    const struct dead_letter *letter = &parked->letter;
    sqlite3_stmt *row = prepared(store, WRITE);
    size_t attempts;
    bool good;

    if (!row)
        return false;
    buffer_reset(&store->text);
    dead_letter_sqlite_write_attempts(&store->text, letter);
    attempts = store->text.size;
    dead_letter_sqlite_write_headers(&store->text, letter);
    if (store->text.full)
        return false;
    bind_short(row, parked);
    sqlite3_bind_text(row, 27, store->text.data, (int)attempts, SQLITE_STATIC);
    bind_bytes(row, 28, letter->response);
    bind_bytes(row, 29, letter->identity);
    bind_bytes(row, 30, letter->message_id);
    sqlite3_bind_blob64(row, 31, store->text.data + attempts, store->text.size - attempts,
                        SQLITE_STATIC);
    bind_bytes(row, 32, letter->key);
    bind_bytes(row, COLUMNS, letter->payload);
    good = finish(row);
    sqlite3_clear_bindings(row);
    return good;
}

int parked_store_write(struct parked_store *store, const struct parked *rows, size_t count,
                       struct fault *fault)
{
    bool good = run(store, BEGIN);

    for (size_t i = 0; i < count && good; i++)
        good = write_row(store, &rows[i]);
    return end(store, good, "cannot write", fault);
}

int parked_store_remove(struct parked_store *store, const int64_t *numbers, size_t count,
                        struct fault *fault)
{
    sqlite3_stmt *statement = prepared(store, REMOVE);
    bool good = statement && run(store, BEGIN);

    for (size_t i = 0; i < count && good; i++) {
        sqlite3_bind_int64(statement, 1, numbers[i]);
        good = finish(statement);
    }
    return end(store, good, "cannot remove", fault);
}

/* ---- reading ---- */

static uint32_t small(sqlite3_stmt *row, int column)
{
    return (uint32_t)sqlite3_column_int64(row, column);
}

static void fill_short(struct parked *parked, sqlite3_stmt *row)
{
    struct sluice_bytes token = sqlite_bytes(row, 13);

    *parked = (struct parked){
        .number = sqlite3_column_int64(row, 0),
        .due_wall_us = sqlite3_column_int64(row, 8),
        .parked_wall_us = sqlite3_column_int64(row, 9),
        .queue = (uint64_t)sqlite3_column_int64(row, 10),
        .bytes = (size_t)sqlite3_column_int64(row, 11),
        .fingerprint = (uint64_t)sqlite3_column_int64(row, 12),
        .has_token = small(row, 14),
        .attempts = small(row, 18),
        .named = small(row, 19),
        .first_failed_wall_us = sqlite3_column_int64(row, 20),
    };
    parked->letter = (struct dead_letter){
        .mapping = sqlite_text(row, 1),
        .connector = sqlite_text(row, 2),
        .revision = sqlite_text(row, 3),
        .lane = sqlite_text(row, 4),
        .source = sqlite_text(row, 5),
        .partition = sqlite3_column_int(row, 6),
        .position = (uint64_t)sqlite3_column_int64(row, 7),
        .token = token.data ? token.data : "",
        .token_size = token.size,
        .message_wall_us = sqlite3_column_int64(row, 15),
        .timestamp_kind = small(row, 16),
        .delivery_count = small(row, 17),
        .attempt_count = small(row, 21),
        .first_wall_us = sqlite3_column_int64(row, 22),
        .last_wall_us = sqlite3_column_int64(row, 23),
        .status = small(row, 24),
        .reason = sqlite_text(row, 25),
    };
}

int parked_store_read(struct parked_store *store, int64_t number, parked_each_fn each,
                      void *argument, struct fault *fault)
{
    struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS];
    sqlite3_stmt *row = prepared(store, READ);
    struct sluice_header *headers = NULL;
    struct sluice_bytes packed;
    struct parked parked;
    int code;

    if (!row)
        return say(store, "cannot read", fault);
    sqlite3_bind_int64(row, 1, number);
    code = sqlite3_step(row);
    if (code == SQLITE_ROW) {
        fill_short(&parked, row);
        parked.letter.attempts = attempts;
        parked.letter.attempts_kept = dead_letter_sqlite_read_attempts(
            sqlite_text(row, 26), (size_t)sqlite3_column_bytes(row, 26), attempts);
        parked.letter.response = sqlite_bytes(row, 27);
        parked.letter.identity = sqlite_bytes(row, 28);
        parked.letter.message_id = sqlite_bytes(row, 29);
        packed = sqlite_bytes(row, 30);
        parked.letter.header_count =
            dead_letter_sqlite_read_headers(packed.data, packed.size, &headers);
        parked.letter.headers = headers;
        parked.letter.key = sqlite_bytes(row, 31);
        parked.letter.payload = sqlite_bytes(row, 32);
        each(argument, &parked);
        free(headers);
    }
    sqlite3_reset(row);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return say(store, "cannot read", fault);
    return code == SQLITE_ROW;
}

int64_t parked_store_newest(const struct parked_store *store)
{
    return sqlite_number(store->db, "SELECT parked_wall_us FROM parked ORDER BY number DESC LIMIT 1");
}

int parked_store_list(struct parked_store *store, const char *mapping, parked_each_fn each,
                      void *argument, struct fault *fault)
{
    sqlite3_stmt *row = prepared(store, LIST);
    struct parked parked;
    int code;

    if (!row)
        return say(store, "cannot read", fault);
    if (mapping)
        sqlite3_bind_text(row, 1, mapping, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(row, 1);
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        fill_short(&parked, row);
        if (each(argument, &parked)) {
            code = SQLITE_DONE;
            break;
        }
    }
    sqlite3_reset(row);
    return code == SQLITE_DONE ? 0 : say(store, "cannot read", fault);
}
