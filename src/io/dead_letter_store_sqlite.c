/* SPDX-License-Identifier: MIT
 * Opening and closing the local dead-letter store, its schema and statements. */
#define _GNU_SOURCE
#include "io/dead_letter_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"
#include "io/sqlite.h"

#define BUSY_MS        5000       /* a person's command may hold the write lock that long */
#define TEXT_MOST      ((size_t)64 << 20)

/* Deleted bytes are overwritten where the page is written anyway: whole pages of zeroes are for letters that
 * people discard and not for thousands that were delivered. */
static const char soon_pragmas[] =
    "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2048; PRAGMA secure_delete = FAST;";

#define TEXT_OF(value)       #value
#define TEXT_OF_VALUE(value) TEXT_OF(value)

static const char pragmas[] =
    "PRAGMA synchronous = FULL;"            /* every commit is on the disk when it returns */
    "PRAGMA wal_autocheckpoint = " TEXT_OF_VALUE(DEAD_LETTER_JOURNAL_PAGES) ";"
    "PRAGMA journal_size_limit = 67108864;" /* what a burst leaves behind */
    "PRAGMA cache_size = -8192;"            /* 8 MiB */
    "PRAGMA secure_delete = ON;"            /* what people discard, and what expires, is zeroed */
    "PRAGMA temp_store = MEMORY;";

#define ROW_COLUMNS                                                                                \
    "letter.number, letter.id, mapping.name, letter.revision, lane.connector, lane.name, "         \
    "lane.source, lane.partition, letter.position, letter.message_wall_us, letter.token, "         \
    "kind.class, letter.reason, kind.status, letter.attempt_count, letter.first_wall_us, "         \
    "letter.last_wall_us, letter.replay_count, body.attempts, body.response, "                     \
    "letter.replayed_wall_us, letter.edit_count, letter.forced, letter.timestamp_kind, "           \
    "letter.delivery_count"
#define ROW_TABLES                                                                                 \
    " FROM letter JOIN lane ON lane.number = letter.lane"                                          \
    " JOIN kind ON kind.number = letter.kind JOIN mapping ON mapping.number = kind.mapping"        \
    " JOIN body ON body.number = letter.number WHERE letter.number = ?1"

static const char *const sql[STATEMENTS] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_NEWEST] = "SELECT (SELECT max(number) FROM letter), (SELECT max(part) FROM letter)",
    [STATEMENT_TAKEN] = "SELECT 1 FROM letter WHERE number = ?1",
    [STATEMENT_FIND_MAPPING] = "SELECT number FROM mapping WHERE name = ?1",
    [STATEMENT_ADD_MAPPING] = "INSERT INTO mapping (name) VALUES (?1)",
    [STATEMENT_FIND_LANE] = "SELECT number FROM lane WHERE mapping = ?1 AND name = ?2 AND"
                            " source = ?3 AND connector = ?4 AND partition = ?5",
    [STATEMENT_ADD_LANE] = "INSERT INTO lane (mapping, name, source, connector, partition)"
                           " VALUES (?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_FIND_ERROR] = "SELECT number FROM error WHERE text = ?1",
    [STATEMENT_ADD_ERROR] = "INSERT INTO error (text) VALUES (?1)",
    [STATEMENT_COUNT_ERRORS] = "SELECT max(number) FROM error",
    [STATEMENT_FIND_KIND] = "SELECT number FROM kind WHERE mapping = ?1 AND class = ?2 AND"
                            " status = ?3 AND error = ?4",
    [STATEMENT_ADD_KIND] = "INSERT INTO kind (mapping, class, status, error)"
                           " VALUES (?1, ?2, ?3, ?4)",
    [STATEMENT_ADD_LETTER] =
        "INSERT INTO letter (number, id, lane, position, fingerprint, kind, revision,"
        " message_wall_us, token, reason, attempt_count, first_wall_us, last_wall_us, replay_count,"
        " bytes, replayed_wall_us, edit_count, forced, timestamp_kind, delivery_count, part)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?19, ?20, ?21)"
        " ON CONFLICT (lane, position, fingerprint) DO NOTHING",
    [STATEMENT_FIND_LETTER] = "SELECT number, id, kind, bytes FROM letter WHERE lane = ?1 AND"
                              " position = ?2 AND fingerprint = ?3",
    [STATEMENT_UPDATE_LETTER] =
        "UPDATE letter SET kind = ?6, revision = ?7, reason = ?10, attempt_count = ?11,"
        " last_wall_us = ?13, replay_count = max(replay_count, ?14), seen = seen + 1"
        " WHERE number = ?1",
    [STATEMENT_REPLAYED] =
        "SELECT letter.number, letter.kind, letter.bytes, kind.mapping, body.attempts FROM letter"
        " JOIN kind ON kind.number = letter.kind JOIN body ON body.number = letter.number"
        " WHERE letter.number >= ?1 AND letter.number < ?2 AND letter.id = ?3",
    [STATEMENT_UPDATE_REPLAYED] =
        "UPDATE letter SET kind = ?2, revision = ?3, reason = ?4,"
        " attempt_count = attempt_count + ?5, last_wall_us = ?6, replayed_wall_us = ?6,"
        " replay_count = replay_count + 1 WHERE number = ?1",
    [STATEMENT_ADD_BODY] = "INSERT INTO body (number, attempts, response, headers, key, payload,"
                           " original, message_id, identity)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [STATEMENT_UPDATE_BODY] = "UPDATE body SET attempts = ?2, response = ?3 WHERE number = ?1",
    [STATEMENT_ADD_TALLY] = "INSERT INTO tally (kind, hour, count, first, last, bytes)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (kind, hour) DO UPDATE"
                            " SET count = count + excluded.count,"
                            " first = min(first, excluded.first),"
                            " last = max(last, excluded.last), bytes = bytes + excluded.bytes",
    [STATEMENT_FIX_TALLY] =
        "UPDATE tally SET count = count - ?3, bytes = bytes - ?4,"
        " first = coalesce((SELECT min(number) FROM letter WHERE kind = ?1 AND"
        "  number >= ?2 * 3600000000 AND number < (?2 + 1) * 3600000000), first),"
        " last = coalesce((SELECT max(number) FROM letter WHERE kind = ?1 AND"
        "  number >= ?2 * 3600000000 AND number < (?2 + 1) * 3600000000), last)"
        " WHERE kind = ?1 AND hour = ?2",
    [STATEMENT_CLEAN_TALLY] = "DELETE FROM tally WHERE kind = ?1 AND hour = ?2 AND count <= 0",
    [STATEMENT_ANY_OLD] =
        "SELECT kind.number FROM mapping JOIN kind ON kind.mapping = mapping.number"
        " JOIN tally ON tally.kind = kind.number"
        " WHERE mapping.name = ?1 AND tally.first < ?2 LIMIT 1",
    [STATEMENT_OLD_LETTERS] = "SELECT number, bytes FROM letter WHERE kind = ?1 AND number < ?2"
                              " ORDER BY number LIMIT ?3",
    [STATEMENT_DELETE_LETTER] = "DELETE FROM letter WHERE number = ?1",
    [STATEMENT_DELETE_BODY] = "DELETE FROM body WHERE number = ?1",
    [STATEMENT_DELETE_LETTERS] = "DELETE FROM letter WHERE number BETWEEN ?1 AND ?2",
    [STATEMENT_DELETE_BODIES] = "DELETE FROM body WHERE number BETWEEN ?1 AND ?2",
    [STATEMENT_CHOSEN_RANGE] = "SELECT kind, edit_count, bytes, number FROM letter"
                               " WHERE number BETWEEN ?1 AND ?2 ORDER BY number",
    [STATEMENT_CHOSEN] = "SELECT kind, edit_count, bytes FROM letter WHERE number = ?1",
    [STATEMENT_EDIT_LETTER] = "UPDATE letter SET edit_count = edit_count + 1, bytes = bytes + ?2"
                              " WHERE number = ?1",
    [STATEMENT_EDIT_BODY] =
        "UPDATE body SET original = CASE WHEN ?3 THEN payload ELSE original END, payload = ?2"
        " WHERE number = ?1",
    [STATEMENT_PAYLOAD_SIZE] = "SELECT coalesce(length(payload), 0) FROM body WHERE number = ?1",
    [STATEMENT_FORCE] = "UPDATE letter SET forced = replay_count + 1 WHERE number = ?1",
    [STATEMENT_FIND_ID] = "SELECT 1 FROM letter WHERE number >= ?1 AND number < ?2 AND id = ?3",
    [STATEMENT_USAGE] = "SELECT coalesce(sum(count), 0), coalesce(sum(bytes), 0) FROM tally"
                        " WHERE ?1 IS NULL OR kind IN (SELECT kind.number FROM kind JOIN mapping"
                        " ON mapping.number = kind.mapping WHERE mapping.name = ?1)",
    [STATEMENT_ADD_ACT] = "INSERT INTO log (wall_us, uid, login, action, detail, count, failed)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STATEMENT_UPDATE_ACT] = "UPDATE log SET count = ?2, failed = ?3 WHERE number = ?1",
    [STATEMENT_TRIM_LOG] = "DELETE FROM log WHERE number <= ?1 - 100000",
    [STATEMENT_ACTS] = "SELECT number, wall_us, uid, login, action, detail, count, failed FROM log"
                       " ORDER BY number DESC LIMIT ?1",
    [STATEMENT_ROW] = "SELECT " ROW_COLUMNS ROW_TABLES,
    [STATEMENT_ROW_WITH_PAYLOAD] =
        "SELECT " ROW_COLUMNS ", body.headers, body.key, body.payload, body.original,"
        " body.message_id, body.identity" ROW_TABLES,
    /* CROSS: both in the order of their numbers. */
    [STATEMENT_MESSAGES] =
        "SELECT letter.number, letter.id, letter.position, letter.message_wall_us, letter.token,"
        " letter.edit_count, letter.forced, letter.timestamp_kind, letter.delivery_count,"
        " body.headers, body.key, body.payload, body.message_id, body.identity FROM letter"
        " CROSS JOIN body ON body.number = letter.number WHERE letter.number BETWEEN ?1 AND ?2",
    [STATEMENT_BEGIN_READ] = "BEGIN",
    [STATEMENT_FIND_PLACE] = "SELECT number FROM place WHERE mapping = ?1 AND lane = ?2 AND"
                             " connector = ?3",
    [STATEMENT_ADD_PLACE] = "INSERT INTO place (mapping, lane, connector) VALUES (?1, ?2, ?3)",
    [STATEMENT_COLLECT] = "INSERT OR REPLACE INTO collected (place, position, written_wall_us, letter)"
                          " VALUES (?1, ?2, ?3, ?4)",
    [STATEMENT_TRIM_COLLECTED] = "DELETE FROM collected WHERE number <= ?1",
    [STATEMENT_COLLECTED_HERE] = "SELECT 1 FROM collected WHERE letter IS NOT NULL LIMIT 1",
    [STATEMENT_COLLECTED_ENDS] = "UPDATE collected SET letter = NULL, how = ?3, ended_wall_us = ?4"
                                 " WHERE letter BETWEEN ?1 AND ?2",
    [STATEMENT_COLLECTED] =
        "SELECT collected.how, collected.ended_wall_us, letter.id, letter.replay_count,"
        " letter.replayed_wall_us FROM place JOIN collected ON collected.place = place.number"
        " AND collected.position = ?3 LEFT JOIN letter ON letter.number = collected.letter"
        " WHERE place.lane = ?1 AND place.connector = ?2 AND collected.written_wall_us = ?4"
        " ORDER BY collected.ended_wall_us DESC LIMIT 1",
    [STATEMENT_ID] = "SELECT id FROM letter WHERE number = ?1",
};

sqlite3_stmt *dead_letter_sqlite_statement(struct dead_letter_sqlite *store,
                                           enum dead_letter_statement which)
{
    if (!store->statements[which] &&
        sqlite3_prepare_v3(store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &store->statements[which], NULL) != SQLITE_OK)
        return NULL;
    return store->statements[which];
}

int dead_letter_sqlite_finish(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    sqlite3_reset(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

int dead_letter_sqlite_run(struct dead_letter_sqlite *store, enum dead_letter_statement which)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, which);

    return statement ? dead_letter_sqlite_finish(statement) : sqlite3_errcode(store->db);
}

int dead_letter_sqlite_run_with(struct dead_letter_sqlite *store, enum dead_letter_statement which,
                                const int64_t *numbers, int count)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, which);

    if (!statement)
        return -1;
    for (int i = 0; i < count; i++)
        sqlite3_bind_int64(statement, i + 1, numbers[i]);
    return dead_letter_sqlite_finish(statement) == SQLITE_OK ? 0 : -1;
}

int dead_letter_sqlite_begin(struct dead_letter_sqlite *store, struct fault *fault)
{
    if (!store->numbers)
        return fault_set(fault, "%s: opened for reading", store->path);
    if (dead_letter_sqlite_run(store, STATEMENT_BEGIN) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot begin to write", fault);
    return 0;
}

int dead_letter_sqlite_end(struct dead_letter_sqlite *store, bool good, const char *what,
                           struct fault *fault)
{
    if (good && dead_letter_sqlite_run(store, STATEMENT_COMMIT) == SQLITE_OK)
        return 0;
    if (store->text.full)
        fault_set(fault, "%s: a letter's headers take more than %zu MiB", store->path,
                  store->text.cap >> 20);
    else
        dead_letter_sqlite_fault(store, what, fault);
    /* What was numbered in this transaction is gone. */
    if (store->numbers)
        memset(store->numbers, 0, DEAD_LETTER_NUMBERS * sizeof *store->numbers);
    if (!sqlite3_get_autocommit(store->db))
        dead_letter_sqlite_run(store, STATEMENT_ROLLBACK);
    return -1;
}

int dead_letter_sqlite_fault(struct dead_letter_sqlite *store, const char *what,
                             struct fault *fault)
{
    int code = store->db ? sqlite3_extended_errcode(store->db) : SQLITE_NOMEM;
    const char *text = store->db ? sqlite3_errmsg(store->db) : "out of memory";
    int system = store->db ? sqlite3_system_errno(store->db) : 0;

    switch (code & 0xff) {
    case SQLITE_FULL:
        return fault_set(fault, "%s: %s: no space left; free some, writing goes on by itself",
                         store->path, what);
    case SQLITE_CORRUPT:
        return fault_set(fault,
                         "%s: %s: the file is damaged (%s); save what can be read with `sluice dlq "
                         "export`, move the file away, and import it again",
                         store->path, what, text);
    case SQLITE_NOTADB:
        return fault_set(fault,
                         "%s: %s: the file is damaged or not a dead-letter store (%s); save what "
                         "can be read with `sqlite3 FILE .recover`, and move it away",
                         store->path, what, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fault_set(fault, "%s: %s: another process holds it for more than %d s", store->path,
                         what, BUSY_MS / 1000);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return fault_set(fault, "%s: %s: %s%s%s; run as the user that sluice runs as, or as root",
                         store->path, what, text, system ? ": " : "",
                         system ? strerror(system) : "");
    case SQLITE_IOERR:
        return fault_set(fault,
                         "%s: %s: %s (%s); if the disk is not full, look at the kernel's log",
                         store->path, what, text, system ? strerror(system) : "no further reason");
    default:
        return fault_set(fault, "%s: %s: %s", store->path, what, text);
    }
}

static int open_connection(struct dead_letter_sqlite *store, const char *name, int flags)
{
    int code;

    if (store->db)
        sqlite3_close(store->db);
    store->db = NULL;
    code = sqlite_open(name, &store->db, flags | SQLITE_OPEN_NOMUTEX);
    if (store->db) {
        sqlite3_busy_timeout(store->db, BUSY_MS);
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    }
    return code;
}

static int open_writer(struct dead_letter_sqlite *store, const char *directory,
                       enum dead_letter_access access, struct fault *fault)
{
    int known;

    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return fault_set(fault, "%s: cannot make the state directory: %s", directory,
                         strerror(errno));
    if (sqlite_make(store->path, fault) != 0)
        return -1;
    if (open_connection(store, store->path, SQLITE_OPEN_READWRITE) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot open", fault);
    known = dead_letter_sqlite_version(store, fault);
    if (known < 0)
        return -1;
    if (sqlite3_exec(store->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(store->db, pragmas, NULL, NULL, NULL) != SQLITE_OK ||
        (access == DEAD_LETTER_WRITE_SOON &&
         sqlite3_exec(store->db, soon_pragmas, NULL, NULL, NULL) != SQLITE_OK))
        return dead_letter_sqlite_fault(store, "cannot set up", fault);
    if (known < DEAD_LETTER_FORMAT && dead_letter_sqlite_upgrade(store, fault) != 0)
        return -1;
    store->numbers = memory_zero(DEAD_LETTER_NUMBERS, sizeof *store->numbers);
    if (getrandom(&store->random, sizeof store->random, 0) != sizeof store->random)
        store->random = (uint64_t)clock_wall() ^ (uint64_t)getpid() << 40;
    return 0;
}

static char *immutable_name(const char *path)
{
    char *name = memory_new(strlen(path) * 3 + 32), *at = name + sprintf(name, "file:");

    for (; *path; path++) {
        if (*path == '?' || *path == '#' || *path == '%')
            at += sprintf(at, "%%%02x", (unsigned char)*path);
        else
            *at++ = *path;
    }
    sprintf(at, "?immutable=1");
    return name;
}

/* A reader of a WAL file needs to write beside it, unless nobody writes and all of the WAL has been
 * taken over into the file. */
static int open_unwritable(struct dead_letter_sqlite *store, struct fault *fault)
{
    char *wal = memory_format("%s-wal", store->path), *name;
    struct stat status;
    bool pending = stat(wal, &status) == 0 && status.st_size > 0;
    int code;

    free(wal);
    if (pending)
        return dead_letter_sqlite_fault(
            store,
            "what was written last is not yet in the file, and reading it takes the right "
            "to write here",
            fault);
    name = immutable_name(store->path);
    code = open_connection(store, name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
    free(name);
    if (code != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot open", fault);
    return dead_letter_sqlite_version(store, fault);
}

/* An older file is brought up to date by whoever may. */
static int upgrade_for_reader(struct dead_letter_sqlite *store, const char *directory,
                              struct fault *fault)
{
    struct fault why = {.text = ""};
    struct dead_letter_store *writer =
        dead_letter_store_sqlite_open(directory, DEAD_LETTER_WRITE, &why);

    if (!writer)
        return fault_set(fault,
                         "%s: written by an older sluice, and it cannot be brought up to date (%s); "
                         "run this once as the user that sluice runs as",
                         store->path, why.text);
    writer->ops->close(writer);
    return dead_letter_sqlite_version(store, fault);
}

static int open_reader(struct dead_letter_sqlite *store, const char *directory,
                       struct fault *fault)
{
    int known, code;

    if (access(store->path, R_OK) != 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? -1
                   : fault_set(fault, "%s: %s; run as the user that sluice runs as, or as root",
                               store->path, strerror(errno));
    if (open_connection(store, store->path, SQLITE_OPEN_READONLY) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot open", fault);
    known = dead_letter_sqlite_version(store, fault);
    code = sqlite3_errcode(store->db);
    if (known < 0 && (code == SQLITE_CANTOPEN || code == SQLITE_READONLY))
        known = open_unwritable(store, fault);
    if (known <= 0)
        return -1;
    if (known < DEAD_LETTER_FORMAT && upgrade_for_reader(store, directory, fault) < 0)
        return -1;
    /* Bounded, however many letters there are: what does not fit goes to a temporary file. */
    sqlite3_exec(store->db, "PRAGMA cache_size = -8192;", NULL, NULL, NULL);
    return 0;
}

static void store_close(struct dead_letter_store *base)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;

    for (unsigned i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    buffer_fini(&store->text);
    free(store->numbers);
    free(store->path);
    free(store);
}

static const struct dead_letter_store_ops ops = {
    .add = dead_letter_sqlite_add,
    .list = dead_letter_sqlite_list,
    .read = dead_letter_sqlite_read,
    .read_messages = dead_letter_sqlite_read_messages,
    .select = dead_letter_sqlite_select,
    .group = dead_letter_sqlite_group,
    .trend = dead_letter_sqlite_trend,
    .count = dead_letter_sqlite_count,
    .usage = dead_letter_sqlite_usage,
    .expire = dead_letter_sqlite_expire,
    .collected = dead_letter_sqlite_collected,
    .remove = dead_letter_sqlite_remove,
    .edit = dead_letter_sqlite_edit,
    .import = dead_letter_sqlite_import,
    .force = dead_letter_sqlite_force,
    .log = dead_letter_sqlite_log,
    .acts = dead_letter_sqlite_acts,
    .close = store_close,
};

struct dead_letter_store *dead_letter_store_sqlite_open(const char *directory,
                                                        enum dead_letter_access access,
                                                        struct fault *fault)
{
    struct dead_letter_sqlite *store = memory_zero(1, sizeof *store);
    int result;

    fault->text[0] = '\0';
    store->base.ops = &ops;
    store->path = memory_format("%s/dead-letters.sqlite", directory);
    buffer_init(&store->text, TEXT_MOST);
    if (access == DEAD_LETTER_READ)
        result = open_reader(store, directory, fault);
    else
        result = open_writer(store, directory, access, fault);
    if (result != 0) {
        store_close(&store->base);
        return NULL;
    }
    return &store->base;
}
