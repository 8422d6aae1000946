/* SPDX-License-Identifier: MIT
 * Writing letters. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/dead_letter_store_fold.h"
#include "io/dead_letter_store_id.h"
#include "io/dead_letter_store_sqlite.h"

#define ERRORS_MOST 10000 /* different ones kept apart; the rest are one */
#define ERROR_OTHER "(other)"
#define ERROR_BYTES 240
#define PART_LETTERS 4096 /* on average */

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    /* The caller's memory outlives the step. */
    sqlite3_bind_text(statement, index, text_or_empty(text), -1, SQLITE_STATIC);
}

static void bind_bytes(sqlite3_stmt *statement, int index, struct sluice_bytes bytes)
{
    if (!bytes.data)
        sqlite3_bind_null(statement, index);
    else if (!bytes.size)
        sqlite3_bind_zeroblob(statement, index, 0); /* present and empty is not absent */
    else
        sqlite3_bind_blob64(statement, index, bytes.data, bytes.size, SQLITE_STATIC);
}

/* ---- numbers that stand for texts ---- */

struct wanted {
    enum dead_letter_statement find, add;
    int64_t numbers[2];
    size_t number_count; /* bound after the texts */
    const char *texts[3];
    size_t text_count;
    int64_t before; /* bound first where it is not 0 */
};

static void bind_wanted(sqlite3_stmt *statement, const struct wanted *wanted)
{
    int index = 1;

    if (wanted->before)
        sqlite3_bind_int64(statement, index++, wanted->before);
    for (size_t i = 0; i < wanted->text_count; i++)
        bind_text(statement, index++, wanted->texts[i]);
    for (size_t i = 0; i < wanted->number_count; i++)
        sqlite3_bind_int64(statement, index++, wanted->numbers[i]);
}

static XXH128_hash_t hash_wanted(const struct wanted *wanted)
{
    int64_t head[4] = {wanted->find, wanted->before, wanted->numbers[0], wanted->numbers[1]};
    XXH128_hash_t hash = XXH3_128bits(head, sizeof head);

    for (size_t i = 0; i < wanted->text_count; i++) {
        const char *text = text_or_empty(wanted->texts[i]);
        XXH128_hash_t part = XXH3_128bits_withSeed(text, strlen(text), hash.low64 + i);

        hash.low64 = hash.low64 * UINT64_C(0x9e3779b97f4a7c15) ^ part.low64;
        hash.high64 = hash.high64 * UINT64_C(0xc2b2ae3d27d4eb4f) ^ part.high64;
    }
    return hash;
}

/* The number that stands for what is wanted, made where missing; -1 with SQLite's error set. */
static int64_t number_of(struct dead_letter_sqlite *store, const struct wanted *wanted)
{
    XXH128_hash_t hash = hash_wanted(wanted);
    struct dead_letter_number *place = &store->numbers[hash.low64 % DEAD_LETTER_NUMBERS];
    sqlite3_stmt *statement;
    int64_t number = 0;
    int code;

    if (place->number && place->hash[0] == hash.low64 && place->hash[1] == hash.high64)
        return place->number;
    statement = dead_letter_sqlite_statement(store, wanted->find);
    if (!statement)
        return -1;
    bind_wanted(statement, wanted);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return -1;
    if (!number) {
        statement = dead_letter_sqlite_statement(store, wanted->add);
        if (!statement)
            return -1;
        bind_wanted(statement, wanted);
        if (dead_letter_sqlite_finish(statement) != SQLITE_OK)
            return -1;
        number = sqlite3_last_insert_rowid(store->db);
    }
    *place = (struct dead_letter_number){{hash.low64, hash.high64}, number};
    return number;
}

static int64_t error_of(struct dead_letter_sqlite *store, const char *reason)
{
    char folded[ERROR_BYTES];
    struct wanted wanted = {.find = STATEMENT_FIND_ERROR,
                            .add = STATEMENT_ADD_ERROR,
                            .texts = {folded},
                            .text_count = 1};
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_COUNT_ERRORS);
    int64_t errors = 0;

    if (!statement)
        return -1;
    if (!dead_letter_store_fold(text_or_empty(reason), folded, sizeof folded))
        strcpy(folded, "(no reason)");
    if (sqlite3_step(statement) == SQLITE_ROW)
        errors = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (errors >= ERRORS_MOST) {
        /* Those known keep their number; new ones share one. */
        sqlite3_stmt *find = dead_letter_sqlite_statement(store, STATEMENT_FIND_ERROR);

        if (!find)
            return -1;
        bind_text(find, 1, folded);
        if (sqlite3_step(find) != SQLITE_ROW)
            wanted.texts[0] = ERROR_OTHER;
        sqlite3_reset(find);
    }
    return number_of(store, &wanted);
}

static int64_t mapping_of(struct dead_letter_sqlite *store, const struct dead_letter *letter)
{
    return number_of(store, &(struct wanted){.find = STATEMENT_FIND_MAPPING,
                                             .add = STATEMENT_ADD_MAPPING,
                                             .texts = {letter->mapping},
                                             .text_count = 1});
}

int64_t dead_letter_sqlite_place(struct dead_letter_sqlite *store, const struct dead_letter *letter)
{
    int64_t mapping = mapping_of(store, letter);

    return mapping < 0 ? -1
                       : number_of(store, &(struct wanted){.find = STATEMENT_FIND_PLACE,
                                                           .add = STATEMENT_ADD_PLACE,
                                                           .before = mapping,
                                                           .texts = {letter->found_lane,
                                                                     letter->connector},
                                                           .text_count = 2});
}

int dead_letter_sqlite_classify(struct dead_letter_sqlite *store, const struct dead_letter *letter,
                                int64_t mapping, int64_t *ret_lane, int64_t *ret_kind)
{
    int64_t error;

    if (!mapping)
        mapping = mapping_of(store, letter);
    if (mapping < 0)
        return -1;
    *ret_lane = number_of(store, &(struct wanted){.find = STATEMENT_FIND_LANE,
                                                        .add = STATEMENT_ADD_LANE,
                                                        .before = mapping,
                                                        .texts = {letter->lane, letter->source,
                                                                  letter->connector},
                                                        .text_count = 3,
                                                        .numbers = {letter->partition},
                                                        .number_count = 1});
    error = *ret_lane < 0 ? -1 : error_of(store, letter->reason);
    if (error < 0)
        return -1;
    *ret_kind = number_of(store, &(struct wanted){.find = STATEMENT_FIND_KIND,
                                                  .add = STATEMENT_ADD_KIND,
                                                  .before = mapping,
                                                  .texts = {dead_letter_class_name(letter->class)},
                                                  .text_count = 1,
                                                  .numbers = {letter->status, error},
                                                  .number_count = 2});
    return *ret_kind < 0 ? -1 : 0;
}

/* ---- letters ---- */

static uint64_t next_random(struct dead_letter_sqlite *store)
{
    uint64_t z = store->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Tells messages apart that share lane and position, as they may where a queue was made anew. */
static uint64_t fingerprint_of(const struct dead_letter *letter)
{
    const char *token = text_or_empty(letter->token);
    uint64_t hash = XXH3_64bits(token, dead_letter_token_size(letter));
    struct sluice_bytes payload = letter->edit_count ? letter->original : letter->payload;

    hash = XXH3_64bits_withSeed(letter->key.data, letter->key.data ? letter->key.size : 0, hash);
    return XXH3_64bits_withSeed(payload.data, payload.data ? payload.size : 0, hash);
}

/* A free number at or after `wall_us`; -1 with SQLite's error set. `newest` is the highest in use,
 * `last` the one given last. */
static int64_t free_number(struct dead_letter_sqlite *store, int64_t wall_us, int64_t newest,
                           int64_t last)
{
    sqlite3_stmt *statement;
    int code;

    if (wall_us <= last && last - wall_us < CLOCK_SECOND)
        wall_us = last + 1;
    if (wall_us > newest)
        return wall_us;
    /* The clock was set back: fit in between. */
    statement = dead_letter_sqlite_statement(store, STATEMENT_TAKEN);
    if (!statement)
        return -1;
    for (;; wall_us++) {
        sqlite3_bind_int64(statement, 1, wall_us);
        code = sqlite3_step(statement);
        sqlite3_reset(statement);
        if (code == SQLITE_DONE)
            return wall_us;
        if (code != SQLITE_ROW)
            return -1;
    }
}

/* What counts as the size of a letter; headers as they are packed. */
static int64_t bytes_in(const struct dead_letter *letter)
{
    size_t bytes = (letter->key.data ? letter->key.size : 0) +
                   (letter->payload.data ? letter->payload.size : 0);

    for (size_t i = 0; i < letter->header_count; i++)
        bytes += 8 + letter->headers[i].name.size + letter->headers[i].value.size;
    return (int64_t)bytes;
}

static void bind_letter(sqlite3_stmt *statement, const struct dead_letter *letter, int64_t number,
                        int64_t lane, int64_t kind, uint64_t fingerprint)
{
    sqlite3_bind_int64(statement, 1, number);
    bind_text(statement, 2, letter->id);
    sqlite3_bind_int64(statement, 3, lane);
    sqlite3_bind_int64(statement, 4, (int64_t)letter->position);
    sqlite3_bind_int64(statement, 5, (int64_t)fingerprint);
    sqlite3_bind_int64(statement, 6, kind);
    bind_text(statement, 7, letter->revision);
    sqlite3_bind_int64(statement, 8, letter->message_wall_us);
    sqlite3_bind_text64(statement, 9, text_or_empty(letter->token),
                        dead_letter_token_size(letter), SQLITE_STATIC, SQLITE_UTF8);
    bind_text(statement, 10, letter->reason);
    sqlite3_bind_int64(statement, 11, letter->attempt_count);
    sqlite3_bind_int64(statement, 12, letter->first_wall_us);
    sqlite3_bind_int64(statement, 13, letter->last_wall_us);
    sqlite3_bind_int64(statement, 14, letter->replay_count);
    if (sqlite3_bind_parameter_count(statement) < 21)
        return;
    sqlite3_bind_int64(statement, 15, bytes_in(letter));
    sqlite3_bind_int64(statement, 16, letter->replayed_wall_us);
    sqlite3_bind_int64(statement, 17, letter->edit_count);
    sqlite3_bind_int64(statement, 18, letter->forced);
    sqlite3_bind_int64(statement, 19, letter->timestamp_kind);
    sqlite3_bind_int64(statement, 20, letter->delivery_count);
}

static int write_body(struct dead_letter_sqlite *store, const struct dead_letter *letter,
                      int64_t number, bool is_new)
{
    sqlite3_stmt *statement =
        dead_letter_sqlite_statement(store, is_new ? STATEMENT_ADD_BODY : STATEMENT_UPDATE_BODY);
    struct sluice_bytes response = letter->response;
    size_t attempts_size;
    int code;

    if (!statement)
        return -1;
    if (response.data && response.size > DEAD_LETTER_EXCERPT)
        response.size = DEAD_LETTER_EXCERPT;
    buffer_reset(&store->text);
    dead_letter_sqlite_write_attempts(&store->text, letter);
    attempts_size = store->text.size;
    if (is_new)
        dead_letter_sqlite_write_headers(&store->text, letter);
    if (store->text.full) {
        sqlite3_reset(statement);
        return -1;
    }
    sqlite3_bind_int64(statement, 1, number);
    sqlite3_bind_text64(statement, 2, store->text.data, attempts_size, SQLITE_STATIC, SQLITE_UTF8);
    bind_bytes(statement, 3, response);
    if (is_new) {
        struct sluice_bytes headers = {store->text.data + attempts_size,
                                       store->text.size - attempts_size};

        if (!letter->header_count)
            headers.data = NULL;
        bind_bytes(statement, 4, headers);
        bind_bytes(statement, 5, letter->key);
        bind_bytes(statement, 6, letter->payload);
        bind_bytes(statement, 7, letter->original);
        bind_bytes(statement, 8, letter->message_id);
        bind_bytes(statement, 9, letter->identity);
    }
    code = dead_letter_sqlite_finish(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_OK ? 0 : -1;
}

/* The letter is there already: keeps its number and id, takes over the newer story. */
static int update_letter(struct dead_letter_sqlite *store, struct dead_letter_tallies *tallies,
                         struct dead_letter *letter, int64_t lane, int64_t kind,
                         uint64_t fingerprint)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_FIND_LETTER);
    int64_t number, old_kind, bytes;

    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, lane);
    sqlite3_bind_int64(statement, 2, (int64_t)letter->position);
    sqlite3_bind_int64(statement, 3, (int64_t)fingerprint);
    if (sqlite3_step(statement) != SQLITE_ROW) {
        sqlite3_reset(statement);
        return -1;
    }
    number = sqlite3_column_int64(statement, 0);
    memset(letter->id, 0, sizeof letter->id);
    strncpy(letter->id, (const char *)sqlite3_column_text(statement, 1), sizeof letter->id - 1);
    old_kind = sqlite3_column_int64(statement, 2);
    bytes = sqlite3_column_int64(statement, 3);
    sqlite3_reset(statement);
    statement = dead_letter_sqlite_statement(store, STATEMENT_UPDATE_LETTER);
    if (!statement)
        return -1;
    bind_letter(statement, letter, number, lane, kind, fingerprint);
    if (dead_letter_sqlite_finish(statement) != SQLITE_OK)
        return -1;
    letter->dead_wall_us = number;
    if (old_kind != kind &&
        (dead_letter_sqlite_tally_flush(store, tallies) != 0 ||
         dead_letter_sqlite_tally_take(store, old_kind, number / DEAD_LETTER_HOUR, 1, bytes) != 0 ||
         dead_letter_sqlite_tally_add(store, tallies, kind, number, bytes) != 0))
        return -1;
    return write_body(store, letter, number, false);
}

/* What a run of letters goes by. */
struct writing {
    struct dead_letter_tallies tallies;
    int64_t newest, last; /* highest number in use, number given last */
    int64_t part;         /* of the next letter, see the schema */
    bool import;          /* letters bring their ids; those already there stay as they are */
    int64_t added;
};

static int begin_writing(struct dead_letter_sqlite *store, struct writing *writing)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_NEWEST);

    if (!statement)
        return -1;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        writing->newest = writing->last = sqlite3_column_int64(statement, 0);
        writing->part = sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    return 0;
}

static int add_letter(struct dead_letter_sqlite *store, struct writing *writing,
                      struct dead_letter *letter)
{
    const uint64_t random[2] = {next_random(store), next_random(store)};
    uint64_t fingerprint = fingerprint_of(letter);
    int64_t lane, kind, number;
    sqlite3_stmt *statement;

    if (dead_letter_sqlite_classify(store, letter, 0, &lane, &kind) != 0)
        return -1;
    number = free_number(store, letter->dead_wall_us > 0 ? letter->dead_wall_us : clock_wall(),
                         writing->newest, writing->import ? 0 : writing->last);
    statement = dead_letter_sqlite_statement(store, STATEMENT_ADD_LETTER);
    if (number < 0 || !statement)
        return -1;
    /* The id leads to the number: one whose time is taken gets another id. */
    if (!writing->import || !letter->id[0] || number != letter->dead_wall_us)
        dead_letter_store_id_write(number, random, letter->id);
    /* By chance, so that nobody needs to know how many there are. */
    if (next_random(store) % PART_LETTERS == 0)
        writing->part++;
    bind_letter(statement, letter, number, lane, kind, fingerprint);
    sqlite3_bind_int64(statement, 21, writing->part);
    if (dead_letter_sqlite_finish(statement) != SQLITE_OK)
        return -1;
    if (!sqlite3_changes(store->db)) {
        if (writing->import)
            return 0;
        return update_letter(store, &writing->tallies, letter, lane, kind, fingerprint) == 0
                   ? dead_letter_sqlite_collect(store, letter, letter->dead_wall_us)
                   : -1;
    }
    writing->added++;
    letter->dead_wall_us = number;
    writing->last = number;
    if (number > writing->newest)
        writing->newest = number;
    if (dead_letter_sqlite_tally_add(store, &writing->tallies, kind, number, bytes_in(letter)) != 0)
        return -1;
    return write_body(store, letter, number, true) == 0
               ? dead_letter_sqlite_collect(store, letter, number)
               : -1;
}

static int add_all(struct dead_letter_sqlite *store, struct dead_letter *letters, size_t count)
{
    struct writing writing = {.tallies = {.count = 0}};

    if (begin_writing(store, &writing) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (letters[i].replay
                ? dead_letter_sqlite_add_replayed(store, &writing.tallies, &letters[i]) != 0
                : add_letter(store, &writing, &letters[i]) != 0)
            return -1;
    return dead_letter_sqlite_tally_flush(store, &writing.tallies);
}

int dead_letter_sqlite_add(struct dead_letter_store *base, struct dead_letter *letters,
                           size_t count, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;

    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    return dead_letter_sqlite_end(store, add_all(store, letters, count) == 0, "cannot write",
                                  fault);
}

/* ---- letters from elsewhere ---- */

/* 1: a letter of that id is there. */
static int has_id(struct dead_letter_sqlite *store, const char *id)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_FIND_ID);
    int64_t since, until;
    int code;

    if (!statement)
        return -1;
    if (!*id || dead_letter_store_id_range(id, &since, &until) != 0)
        return 0;
    sqlite3_bind_int64(statement, 1, since);
    sqlite3_bind_int64(statement, 2, until);
    bind_text(statement, 3, id);
    code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : -1;
}

static int64_t import_all(struct dead_letter_sqlite *store, struct dead_letter *letters,
                          size_t count, struct dead_letter_act *act)
{
    struct writing writing = {.tallies = {.count = 0}, .import = true};

    if (begin_writing(store, &writing) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int there = has_id(store, letters[i].id);

        if (there < 0 || (!there && add_letter(store, &writing, &letters[i]) != 0))
            return -1;
    }
    if (act)
        act->count += (uint64_t)writing.added;
    if (dead_letter_sqlite_tally_flush(store, &writing.tallies) != 0 ||
        dead_letter_sqlite_write_act(store, act) != 0)
        return -1;
    return writing.added;
}

int64_t dead_letter_sqlite_import(struct dead_letter_store *base, struct dead_letter *letters,
                                  size_t count, struct dead_letter_act *act, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    const struct dead_letter_act before = act ? *act : (struct dead_letter_act){0};
    int64_t added;

    if (dead_letter_sqlite_begin(store, fault) != 0)
        return -1;
    added = import_all(store, letters, count, act);
    if (dead_letter_sqlite_end(store, added >= 0, "cannot import", fault) == 0)
        return added;
    if (act)
        *act = before;
    return -1;
}
