/* SPDX-License-Identifier: MIT
 * Listing letters, a page of numbers at a time: no long read keeps the writer's journal from being
 * taken over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"

#define PAGE       256
#define KINDS_MOST 32 /* read one by one; among more of them every letter is looked at */
#define SQL_MOST   4096
#define BETWEEN_MOST 2 /* letters passed on the way to the next: looking that one up takes as long */
#define SKIP_US    1000 /* of numbers, past damage; doubled until there is something to read */

/* What could not be read of a damaged file. */
struct damage {
    uint64_t letters;
    int64_t since, until; /* numbers between which others may be lost; 0: none */
    int64_t skip;
};

struct listing {
    const struct dead_letter_query *query;
    int64_t since, until; /* of numbers */
    bool oldest;          /* first */
    sqlite3_stmt *numbers; /* the newest (oldest) of a range */
    int64_t kinds[KINDS_MOST];
    size_t kind_count; /* 0: the statement chooses among kinds itself */
    bool none;         /* no kind matches */
    int64_t page[PAGE + 1];
    size_t page_count;
    uint32_t left;
    struct damage damage;
};

/* The kinds that the query chooses, where they are few. 0, or -1 with a fault. */
static int find_kinds(struct dead_letter_sqlite *store, struct listing *listing,
                      struct fault *fault)
{
    sqlite3_stmt *statement;
    struct buffer sql;
    size_t count = 0;
    int code;

    if (!dead_letter_sqlite_filter_has_kinds(listing->query) || listing->query->token)
        return 0;
    buffer_init(&sql, SQL_MOST);
    buffer_add_text(&sql, "SELECT kind.number FROM kind JOIN mapping ON mapping.number ="
                          " kind.mapping WHERE true");
    dead_letter_sqlite_filter_kinds(&sql, listing->query);
    statement = dead_letter_sqlite_prepare(store, &sql, fault);
    if (!statement)
        return -1;
    dead_letter_sqlite_filter_bind(statement, listing->query);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW && count < KINDS_MOST)
        listing->kinds[count++] = sqlite3_column_int64(statement, 0);
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        dead_letter_sqlite_fault(store, "cannot read", fault);
    sqlite3_finalize(statement);
    listing->kind_count = code == SQLITE_DONE ? count : 0;
    listing->none = code == SQLITE_DONE && !count;
    return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : -1;
}

/* ` AND kind IN (...)` for all kinds that the query chooses. */
static void add_kinds(struct buffer *sql, const struct dead_letter_query *query)
{
    if (!dead_letter_sqlite_filter_has_kinds(query))
        return;
    buffer_add_text(sql, " AND +letter.kind IN (SELECT kind.number FROM kind JOIN mapping ON"
                         " mapping.number = kind.mapping WHERE true");
    dead_letter_sqlite_filter_kinds(sql, query);
    buffer_add_text(sql, ")");
}

static int prepare_numbers(struct dead_letter_sqlite *store, struct listing *listing,
                           struct fault *fault)
{
    struct buffer sql;

    buffer_init(&sql, SQL_MOST);
    buffer_add_text(&sql, "SELECT number FROM letter WHERE number >= :since AND number < :until");
    if (listing->kind_count)
        buffer_add_text(&sql, " AND kind = :kind");
    else
        add_kinds(&sql, listing->query);
    dead_letter_sqlite_filter_letters(&sql, listing->query);
    buffer_format(&sql, " ORDER BY number %s LIMIT :limit", listing->oldest ? "" : "DESC");
    listing->numbers = dead_letter_sqlite_prepare(store, &sql, fault);
    if (!listing->numbers)
        return -1;
    dead_letter_sqlite_filter_bind(listing->numbers, listing->query);
    return 0;
}

static void insert_number(struct listing *listing, int64_t number, size_t room)
{
    size_t at = listing->page_count;

    while (at > 0 && (listing->oldest ? listing->page[at - 1] > number
                                      : listing->page[at - 1] < number))
        at--;
    if (at >= room)
        return;
    if (listing->page_count < room)
        listing->page_count++;
    memmove(&listing->page[at + 1], &listing->page[at],
            (listing->page_count - at - 1) * sizeof *listing->page);
    listing->page[at] = number;
}

/* Adds the first `room` numbers, of `kind` or (0) of any, that belong on the page. */
static int collect(struct listing *listing, int64_t kind, size_t room)
{
    sqlite3_stmt *statement = listing->numbers;
    int64_t since = listing->since, until = listing->until;
    int code;

    if (listing->page_count == room) {
        int64_t last = listing->page[room - 1];

        if (listing->oldest)
            until = last < until ? last : until;
        else
            since = last > since ? last : since;
    }
    if (kind)
        sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":kind"), kind);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":since"), since);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":until"), until);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":limit"),
                       (int64_t)room);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        insert_number(listing, sqlite3_column_int64(statement, 0), room);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? 0 : -1;
}

static int next_page(struct listing *listing)
{
    size_t room = listing->left && listing->left < PAGE ? listing->left : PAGE;

    listing->page_count = 0;
    if (!listing->kind_count)
        return collect(listing, 0, room);
    for (size_t i = 0; i < listing->kind_count; i++)
        if (collect(listing, listing->kinds[i], room) != 0)
            return -1;
    return 0;
}

/* ---- damage: what is still there is read, and what is not is told at the end ---- */

static bool is_damaged(const struct dead_letter_sqlite *store)
{
    return (sqlite3_errcode(store->db) & 0xff) == SQLITE_CORRUPT;
}

static void note_damage(struct damage *damage, int64_t since, int64_t until)
{
    if (!damage->until || since < damage->since)
        damage->since = since;
    if (until > damage->until)
        damage->until = until;
}

/* Where the next page cannot be read: goes on behind what may be lost. False: nothing is left. */
static bool skip_damage(struct listing *listing)
{
    struct damage *damage = &listing->damage;
    int64_t newest = listing->until == INT64_MAX ? clock_wall() + CLOCK_DAY : listing->until;

    damage->skip = damage->skip ? damage->skip * 2 : SKIP_US;
    if (listing->page_count)
        return true; /* what came before is shown first */
    if (damage->skip >= newest - listing->since) {
        note_damage(damage, listing->since, newest);
        return false;
    }
    if (listing->oldest) {
        note_damage(damage, listing->since, listing->since + damage->skip);
        listing->since += damage->skip;
    } else {
        note_damage(damage, newest - damage->skip, newest);
        listing->until = newest - damage->skip;
    }
    return true;
}

/* The next page that can be read; an empty one at the end. */
static int next_readable_page(struct dead_letter_sqlite *store, struct listing *listing)
{
    for (;;) {
        if (next_page(listing) == 0) {
            if (listing->page_count)
                listing->damage.skip = 0;
            return 0;
        }
        if (!is_damaged(store))
            return -1;
        if (!skip_damage(listing)) {
            listing->page_count = 0;
            return 0;
        }
        if (listing->page_count)
            return 0;
    }
}

static const char *print_time(int64_t wall_us, char ret[32])
{
    time_t seconds = (time_t)(wall_us / CLOCK_SECOND);
    struct tm parts;

    gmtime_r(&seconds, &parts);
    strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return ret;
}

static int tell_damage(const struct dead_letter_sqlite *store, const struct damage *damage,
                       struct fault *fault)
{
    char lost[160] = "", since[32], until[32];

    if (!damage->letters && !damage->until)
        return 0;
    if (damage->until)
        snprintf(lost, sizeof lost, ", and perhaps others that died between %s and %s,",
                 print_time(damage->since, since), print_time(damage->until, until));
    return fault_set(fault,
                     "%s: the file is damaged: %llu letters%s cannot be read; what can be was; save it "
                     "with `sluice dlq export`, move the file away, and import it again",
                     store->path, (unsigned long long)damage->letters, lost);
}

/* 0, 1 where enough was shown, -1 with SQLite's error set. */
static int show_page(struct dead_letter_sqlite *store, struct listing *listing, int with_payload,
                     dead_letter_each_fn each, void *argument)
{
    for (size_t i = 0; i < listing->page_count; i++) {
        int shown = dead_letter_sqlite_row(store, listing->page[i], with_payload, each, argument);

        if (shown < 0 && is_damaged(store)) {
            listing->damage.letters++;
            continue;
        }
        if (shown < 0)
            return -1;
        if (shown == DEAD_LETTER_ROW_STOP)
            return 1;
        /* One that was removed since the page was read does not count. */
        if (shown == DEAD_LETTER_ROW_SHOWN && listing->left && --listing->left == 0)
            return 1;
    }
    return 0;
}

static int list_by_time(struct dead_letter_sqlite *store, struct listing *listing,
                        int with_payload, dead_letter_each_fn each, void *argument,
                        struct fault *fault)
{
    int result = find_kinds(store, listing, fault);

    if (result == 0 && listing->none)
        return 0;
    if (result != 0 || prepare_numbers(store, listing, fault) != 0)
        return -1;
    while (result == 0) {
        result = next_readable_page(store, listing);
        if (result != 0 || !listing->page_count)
            break;
        result = show_page(store, listing, with_payload, each, argument);
        if (listing->oldest)
            listing->since = listing->page[listing->page_count - 1] + 1;
        else
            listing->until = listing->page[listing->page_count - 1];
    }
    if (result < 0)
        dead_letter_sqlite_fault(store, "cannot read", fault);
    else
        result = tell_damage(store, &listing->damage, fault);
    sqlite3_finalize(listing->numbers);
    return result < 0 ? -1 : 0;
}

/* A statement over all that the query chooses: `what` before, `tail` after the conditions. */
static sqlite3_stmt *prepare_all(struct dead_letter_sqlite *store,
                                 const struct dead_letter_query *query, const char *what,
                                 const char *tail, struct fault *fault)
{
    sqlite3_stmt *statement;
    int64_t since = 0, until = 0;
    struct buffer sql;

    dead_letter_sqlite_filter_range(query, &since, &until);
    buffer_init(&sql, SQL_MOST);
    buffer_add_text(&sql, what);
    buffer_add_text(&sql, " WHERE number >= :since AND number < :until");
    add_kinds(&sql, query);
    dead_letter_sqlite_filter_letters(&sql, query);
    buffer_add_text(&sql, tail);
    statement = dead_letter_sqlite_prepare(store, &sql, fault);
    if (!statement)
        return NULL;
    dead_letter_sqlite_filter_bind(statement, query);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":since"), since);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":until"), until);
    return statement;
}

static int list_by_attempts(struct dead_letter_sqlite *store, struct listing *listing,
                            int with_payload, dead_letter_each_fn each, void *argument,
                            struct fault *fault)
{
    size_t room = listing->left && listing->left < DEAD_LETTER_SORTED ? listing->left
                                                                      : DEAD_LETTER_SORTED;
    sqlite3_stmt *statement =
        prepare_all(store, listing->query, "SELECT number FROM letter",
                    " ORDER BY attempt_count DESC, number DESC LIMIT :limit", fault);
    int64_t *numbers;
    size_t count = 0;
    int code, result = 0;

    if (!statement)
        return -1;
    numbers = memory_new(room * sizeof *numbers);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":limit"),
                       (int64_t)room);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW && count < room)
        numbers[count++] = sqlite3_column_int64(statement, 0);
    if (code != SQLITE_DONE)
        result = -1;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = dead_letter_sqlite_row(store, numbers[i], with_payload, each, argument);
        result = result == DEAD_LETTER_ROW_STOP ? 1 : result == DEAD_LETTER_ROW_GONE ? 0 : result;
    }
    if (result < 0)
        dead_letter_sqlite_fault(store, "cannot read", fault);
    sqlite3_finalize(statement);
    free(numbers);
    return result < 0 ? -1 : 0;
}

int dead_letter_sqlite_list(struct dead_letter_store *base, const struct dead_letter_query *query,
                            int with_payload, dead_letter_each_fn each, void *argument,
                            struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    struct listing listing = {.query = query,
                              .oldest = query->sort == DEAD_LETTER_OLDEST,
                              .left = query->limit};
    int result = 0;

    if (dead_letter_sqlite_filter_begin(store, query, fault) != 0)
        return -1;
    if (dead_letter_sqlite_filter_range(query, &listing.since, &listing.until)) {
        if (query->sort == DEAD_LETTER_ATTEMPTS_MOST)
            result = list_by_attempts(store, &listing, with_payload, each, argument, fault);
        else
            result = list_by_time(store, &listing, with_payload, each, argument, fault);
    }
    dead_letter_sqlite_filter_end(store);
    return result;
}

int dead_letter_sqlite_read(struct dead_letter_store *base, int64_t number,
                            dead_letter_each_fn each, void *argument, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    int result = dead_letter_sqlite_row(store, number, 1, each, argument);

    if (result < 0)
        return dead_letter_sqlite_fault(store, "cannot read", fault);
    return result != DEAD_LETTER_ROW_GONE;
}

/* ---- messages ---- */

/* Reads on from numbers[*at] until others lie between. 1: `each` wants no more; 0, or -1 with SQLite's
 * error set. */
static int read_run(struct dead_letter_sqlite *store, const int64_t *numbers, size_t count,
                    size_t *at, dead_letter_each_fn each, void *argument)
{
    sqlite3_stmt *row = dead_letter_sqlite_statement(store, STATEMENT_MESSAGES);
    int code = SQLITE_DONE, between = 0, stop = 0;

    if (!row)
        return -1;
    sqlite3_bind_int64(row, 1, numbers[*at]);
    sqlite3_bind_int64(row, 2, numbers[count - 1]);
    while (*at < count && !stop && between <= BETWEEN_MOST &&
           (code = sqlite3_step(row)) == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(row, 0);

        while (*at < count && numbers[*at] < number)
            ++*at; /* it is gone */
        if (*at < count && numbers[*at] == number) {
            stop = dead_letter_sqlite_message(row, each, argument);
            between = 0;
            ++*at;
        } else {
            between++;
        }
    }
    sqlite3_reset(row);
    if (code == SQLITE_DONE)
        *at = count;
    return code == SQLITE_DONE || code == SQLITE_ROW ? stop : -1;
}

int dead_letter_sqlite_read_messages(struct dead_letter_store *base, const int64_t *numbers,
                                     size_t count, dead_letter_each_fn each, void *argument,
                                     struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    size_t at = 0;
    int result = dead_letter_sqlite_run(store, STATEMENT_BEGIN_READ) == SQLITE_OK ? 0 : -1;

    while (result == 0 && at < count)
        result = read_run(store, numbers, count, &at, each, argument);
    if (result < 0)
        dead_letter_sqlite_fault(store, "cannot read", fault);
    if (!sqlite3_get_autocommit(store->db))
        dead_letter_sqlite_run(store, STATEMENT_COMMIT);
    return result < 0 ? -1 : 0;
}

/* ---- places ---- */

static bool is_before(const struct dead_letter_place *a, const struct dead_letter_place *b)
{
    if (a->lane != b->lane)
        return a->lane < b->lane;
    if (a->position != b->position)
        return a->position < b->position;
    return a->number < b->number;
}

/* Moves the place at `at` down until those below it come before it. */
static void sift(struct dead_letter_place *places, size_t at, size_t count)
{
    const struct dead_letter_place place = places[at];

    for (size_t below = 2 * at + 1; below < count; below = 2 * at + 1) {
        if (below + 1 < count && is_before(&places[below], &places[below + 1]))
            below++;
        if (!is_before(&place, &places[below]))
            break;
        places[at] = places[below];
        at = below;
    }
    places[at] = place;
}

/* A heap sort: qsort would take as much memory again, and there may be a million. */
void dead_letter_places_sort(struct dead_letter_place *places, size_t count)
{
    for (size_t at = count / 2; at > 0; at--)
        sift(places, at - 1, count);
    for (size_t left = count; left > 1; left--) {
        const struct dead_letter_place last = places[0];

        places[0] = places[left - 1];
        places[left - 1] = last;
        sift(places, 0, left - 1);
    }
}

static int collect_places(struct dead_letter_sqlite *store, sqlite3_stmt *statement,
                          struct dead_letter_place **ret_places, size_t *ret_count)
{
    struct dead_letter_place *places = memory_new(sizeof *places);
    size_t count = 0, room = 0;
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (count == room) {
            room = room ? room * 2 : 256;
            places = memory_resize(places, room, sizeof *places);
        }
        places[count++] =
            (struct dead_letter_place){.number = sqlite3_column_int64(statement, 0),
                                       .lane = sqlite3_column_int64(statement, 1),
                                       .position = (uint64_t)sqlite3_column_int64(statement, 2)};
    }
    if (code != SQLITE_DONE) {
        free(places);
        return -1;
    }
    dead_letter_places_sort(places, count);
    *ret_places = places;
    *ret_count = count;
    return 0;
}

int dead_letter_sqlite_select(struct dead_letter_store *base, const struct dead_letter_query *query,
                              struct dead_letter_place **ret_places, size_t *ret_count,
                              struct fault *fault)
{
    static const char *const orders[] = {
        [DEAD_LETTER_NEWEST] = " ORDER BY number DESC LIMIT :limit",
        [DEAD_LETTER_OLDEST] = " ORDER BY number LIMIT :limit",
        [DEAD_LETTER_ATTEMPTS_MOST] = " ORDER BY attempt_count DESC, number DESC LIMIT :limit"};
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    uint32_t limit = query->limit && query->limit < DEAD_LETTER_SELECTED ? query->limit
                                                                         : DEAD_LETTER_SELECTED;
    sqlite3_stmt *statement;
    int result = -1;

    if (dead_letter_sqlite_filter_begin(store, query, fault) != 0)
        return -1;
    statement = prepare_all(store, query, "SELECT number, lane, position FROM letter",
                            orders[query->sort], fault);
    if (statement) {
        sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":limit"), limit);
        result = collect_places(store, statement, ret_places, ret_count);
        if (result != 0)
            dead_letter_sqlite_fault(store, "cannot read", fault);
        sqlite3_finalize(statement);
    }
    dead_letter_sqlite_filter_end(store);
    return result;
}
