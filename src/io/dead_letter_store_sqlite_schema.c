/* SPDX-License-Identifier: MIT
 * The schema of the local dead-letter store, and how older ones are brought up to date. */
#include "io/dead_letter_store_sqlite.h"
#include "io/sqlite.h"

#define APPLICATION_ID 0x736c6463 /* "sldc": a file of sluice's, whatever its name */

/* Who did what to how many letters. */
#define LOG_TABLE                                                                                  \
    "CREATE TABLE log (number INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, uid INTEGER NOT "     \
    "NULL, login TEXT NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL,"                       \
    "  count INTEGER NOT NULL, failed INTEGER NOT NULL);"
#define TOKEN_INDEX "CREATE INDEX letter_token ON letter (part, token);"

/* Letters that were collected from a place that keeps them, and what became of each. letter: its number,
 * NULL once it is not here any more. how: 2 and up of enum dead_letter_fate. */
#define COLLECTED_TABLES                                                                           \
    "CREATE TABLE place (number INTEGER PRIMARY KEY, mapping INTEGER NOT NULL, lane TEXT NOT "     \
    "NULL, connector TEXT NOT NULL, UNIQUE (lane, connector, mapping));"                           \
    "CREATE TABLE collected (number INTEGER PRIMARY KEY, place INTEGER NOT NULL,"                  \
    "  position INTEGER NOT NULL, written_wall_us INTEGER NOT NULL, letter INTEGER,"               \
    "  how INTEGER NOT NULL DEFAULT 1, ended_wall_us INTEGER NOT NULL DEFAULT 0,"                  \
    "  UNIQUE (place, position));"                                                                 \
    "CREATE INDEX collected_letter ON collected (letter) WHERE letter IS NOT NULL;"

static const char schema[] =
    "CREATE TABLE mapping (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE lane (number INTEGER PRIMARY KEY, mapping INTEGER NOT NULL, name TEXT NOT NULL,"
    "  source TEXT NOT NULL, connector TEXT NOT NULL, partition INTEGER NOT NULL,"
    "  UNIQUE (mapping, name, source, connector, partition));"
    "CREATE TABLE error (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
    "CREATE TABLE kind (number INTEGER PRIMARY KEY, mapping INTEGER NOT NULL, class TEXT NOT NULL,"
    "  status INTEGER NOT NULL, error INTEGER NOT NULL, UNIQUE (mapping, class, status, error));"
    /* number: time of death in microseconds since 1970, made unique. position: of 64 bits, so it
     * shows as negative above 2^63. fingerprint: of token, key and payload. seen: how often it
     * came. bytes: of key, payload and headers. forced: see struct dead_letter. part: grows with the
     * number, each for some thousands of letters. Most tokens are in no order; within a part they are
     * few, so that letters that die together, and go together, are together in the index. */
    "CREATE TABLE letter (number INTEGER PRIMARY KEY, id TEXT NOT NULL, lane INTEGER NOT NULL,"
    "  kind INTEGER NOT NULL, position INTEGER NOT NULL, fingerprint INTEGER NOT NULL,"
    "  revision TEXT, message_wall_us INTEGER NOT NULL, token TEXT, reason TEXT,"
    "  attempt_count INTEGER NOT NULL, first_wall_us INTEGER NOT NULL,"
    "  last_wall_us INTEGER NOT NULL, replay_count INTEGER NOT NULL,"
    "  seen INTEGER NOT NULL DEFAULT 1, bytes INTEGER NOT NULL DEFAULT 0,"
    "  replayed_wall_us INTEGER NOT NULL DEFAULT 0, edit_count INTEGER NOT NULL DEFAULT 0,"
    "  forced INTEGER NOT NULL DEFAULT 0, timestamp_kind INTEGER NOT NULL DEFAULT 0,"
    "  delivery_count INTEGER NOT NULL DEFAULT 0, part INTEGER NOT NULL DEFAULT 0);"
    "CREATE UNIQUE INDEX letter_message ON letter (lane, position, fingerprint);"
    "CREATE INDEX letter_kind ON letter (kind);" TOKEN_INDEX
    "CREATE TABLE body (number INTEGER PRIMARY KEY, attempts TEXT, response BLOB, headers BLOB,"
    "  key BLOB, payload BLOB, original BLOB, message_id BLOB, identity BLOB);"
    "CREATE TABLE tally (kind INTEGER NOT NULL, hour INTEGER NOT NULL, count INTEGER NOT NULL,"
    "  first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (kind, hour)) WITHOUT ROWID;"
    LOG_TABLE COLLECTED_TABLES
    "CREATE VIEW letters AS SELECT letter.id, datetime(letter.number / 1000000, 'unixepoch') AS "
    "died,"
    "  mapping.name AS mapping, lane.name AS lane, letter.position, kind.class, kind.status,"
    "  letter.reason, error.text AS error, letter.attempt_count, letter.token, body.attempts,"
    "  body.response, body.key, body.payload FROM letter JOIN lane ON lane.number = letter.lane"
    "  JOIN kind ON kind.number = letter.kind JOIN mapping ON mapping.number = kind.mapping"
    "  JOIN error ON error.number = kind.error JOIN body ON body.number = letter.number;"
    "PRAGMA application_id = 1936483427;"
    "PRAGMA user_version = 5;";

/* From each version to the next. */
static const char *const upgrades[DEAD_LETTER_FORMAT] = {
    [0] = schema,
    [1] = "ALTER TABLE letter ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE letter ADD COLUMN replayed_wall_us INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE letter ADD COLUMN edit_count INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE letter ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE body ADD COLUMN original BLOB;"
          "ALTER TABLE tally ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
          "UPDATE letter SET bytes = (SELECT coalesce(length(key), 0) + coalesce(length(payload), 0)"
          "  + coalesce(length(headers), 0) FROM body WHERE body.number = letter.number);"
          "UPDATE tally SET bytes = (SELECT coalesce(sum(letter.bytes), 0) FROM letter WHERE"
          "  letter.kind = tally.kind AND letter.number >= tally.hour * 3600000000 AND"
          "  letter.number < (tally.hour + 1) * 3600000000);"
          "CREATE INDEX letter_token ON letter (token);" LOG_TABLE "PRAGMA user_version = 2;",
    [2] = "ALTER TABLE letter ADD COLUMN timestamp_kind INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE letter ADD COLUMN delivery_count INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE body ADD COLUMN message_id BLOB;"
          "ALTER TABLE body ADD COLUMN identity BLOB;"
          "PRAGMA user_version = 3;",
    /* Letters that are there stay in one part: to write each anew would take long. */
    [3] = "ALTER TABLE letter ADD COLUMN part INTEGER NOT NULL DEFAULT 0;"
          "DROP INDEX letter_token;" TOKEN_INDEX "PRAGMA user_version = 4;",
    [4] = COLLECTED_TABLES "PRAGMA user_version = 5;",
};

int dead_letter_sqlite_version(struct dead_letter_sqlite *store, struct fault *fault)
{
    int64_t tables = sqlite_number(store->db, "SELECT count(*) FROM sqlite_schema");
    int64_t application = sqlite_number(store->db, "PRAGMA application_id");
    int64_t version = sqlite_number(store->db, "PRAGMA user_version");

    if (tables < 0 || application < 0 || version < 0)
        return dead_letter_sqlite_fault(store, "cannot open", fault);
    if (!tables && !application)
        return 0;
    if (application != APPLICATION_ID)
        return fault_set(fault, "%s: an SQLite file, but not a dead-letter store; move it away",
                         store->path);
    if (version > DEAD_LETTER_FORMAT || version < 1)
        return fault_set(fault,
                         "%s: written by a newer sluice (format %lld, this one knows up to %d); "
                         "install that version again, or use another state directory",
                         store->path, (long long)version, DEAD_LETTER_FORMAT);
    return (int)version;
}

int dead_letter_sqlite_upgrade(struct dead_letter_sqlite *store, struct fault *fault)
{
    int version, code = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    /* Asked again under the lock: another process may have been faster. */
    version = code == SQLITE_OK ? dead_letter_sqlite_version(store, fault) : 0;
    while (code == SQLITE_OK && version >= 0 && version < DEAD_LETTER_FORMAT) {
        code = sqlite3_exec(store->db, upgrades[version], NULL, NULL, NULL);
        version = version ? version + 1 : DEAD_LETTER_FORMAT;
    }
    if (code == SQLITE_OK && version >= 0)
        code = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    if (code == SQLITE_OK && version >= 0)
        return 0;
    if (version >= 0)
        dead_letter_sqlite_fault(store, "cannot make or bring up to date", fault);
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}
