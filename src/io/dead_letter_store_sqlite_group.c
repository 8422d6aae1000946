/* SPDX-License-Identifier: MIT
 * Counting letters: whole hours from the tally, the rest of a range from the letters themselves. */
#include <string.h>

#include "io/dead_letter_store_sqlite.h"

#define QUESTION 2048

/* What there is between two times, as (kind, hour, count, first, last). Parameters: ?1 mapping,
 * ?2 class, ?3 status, ?4 since, ?5 until, ?6 and ?7 the whole hours within, ?8 limit. */
#define PARTS                                                                                      \
    "WITH part (kind, hour, count, first, last) AS ("                                              \
    "SELECT kind, hour, count, first, last FROM tally WHERE hour >= ?6 AND hour < ?7 UNION ALL "   \
    "SELECT kind, number / 3600000000, count(*), min(number), max(number) FROM letter"             \
    " WHERE number >= ?4 AND number < min(?5, ?6 * 3600000000) GROUP BY 1, 2 UNION ALL "           \
    "SELECT kind, number / 3600000000, count(*), min(number), max(number) FROM letter"             \
    " WHERE number >= max(?4, ?7 * 3600000000) AND number < ?5 AND ?7 >= ?6 AND ?7 < ?9"           \
    " GROUP BY 1, 2) "
#define FROM_PARTS                                                                                 \
    " FROM part JOIN kind ON kind.number = part.kind"                                              \
    " JOIN mapping ON mapping.number = kind.mapping JOIN error ON error.number = kind.error"       \
    " WHERE (?1 IS NULL OR mapping.name = ?1) AND (?2 IS NULL OR kind.class = ?2)"                 \
    " AND (?3 = 0 OR kind.status = ?3)"

#define HOUR_NEVER (INT64_MAX / DEAD_LETTER_HOUR)

static const struct {
    const char *field, *expression;
} fields[] = {
    {"error", "error.text"},
    {"class", "kind.class"},
    {"status", "CASE kind.status WHEN 0 THEN 'none' ELSE kind.status END"},
    {"mapping", "mapping.name"},
    {"hour", "strftime('%Y-%m-%dT%H:00Z', part.hour * 3600, 'unixepoch')"},
};

static void bind_query(sqlite3_stmt *statement, const struct dead_letter_query *query)
{
    int64_t since = query->since_wall_us > 0 ? query->since_wall_us : 0;
    int64_t until = query->until_wall_us ? query->until_wall_us : INT64_MAX;
    int64_t first = (since + DEAD_LETTER_HOUR - 1) / DEAD_LETTER_HOUR;
    int64_t end = until == INT64_MAX ? HOUR_NEVER : until / DEAD_LETTER_HOUR;

    if (query->mapping)
        sqlite3_bind_text(statement, 1, query->mapping, -1, SQLITE_STATIC);
    if (query->class_name)
        sqlite3_bind_text(statement, 2, query->class_name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, query->status);
    sqlite3_bind_int64(statement, 4, since);
    sqlite3_bind_int64(statement, 5, until);
    sqlite3_bind_int64(statement, 6, first);
    sqlite3_bind_int64(statement, 7, end);
    sqlite3_bind_int64(statement, 8, query->limit ? (int64_t)query->limit : -1);
    sqlite3_bind_int64(statement, 9, HOUR_NEVER);
}

/* The id of the newest letter of a group, for `show`. */
static void find_example(struct dead_letter_sqlite *store, int64_t number, char *ret_id,
                         size_t room)
{
    sqlite3_stmt *statement = dead_letter_sqlite_statement(store, STATEMENT_ID);

    ret_id[0] = '\0';
    if (!statement)
        return;
    sqlite3_bind_int64(statement, 1, number);
    if (sqlite3_step(statement) == SQLITE_ROW)
        sqlite3_snprintf((int)room, ret_id, "%s", sqlite3_column_text(statement, 0));
    sqlite3_reset(statement);
}

static int prepare(struct dead_letter_sqlite *store, const char *field, sqlite3_stmt **ret)
{
    char question[QUESTION];

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].field, field) != 0)
            continue;
        sqlite3_snprintf(sizeof question, question,
                         PARTS "SELECT %s AS value, sum(part.count) AS total, min(part.first),"
                               " max(part.last)" FROM_PARTS
                               " GROUP BY value ORDER BY total DESC, value LIMIT ?8",
                         fields[i].expression);
        return sqlite3_prepare_v2(store->db, question, -1, ret, NULL) == SQLITE_OK ? 0 : -1;
    }
    return 1;
}

int dead_letter_sqlite_group(struct dead_letter_store *base, const struct dead_letter_query *query,
                             const char *field,
                             int (*each)(void *argument, const struct dead_letter_group *),
                             void *argument, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int code = prepare(store, field, &statement);
    bool stopped = false;

    if (code > 0)
        return fault_set(fault, "cannot group by %s; by error, class, status, mapping or hour",
                         field);
    if (code < 0)
        return dead_letter_sqlite_fault(store, "cannot count", fault);
    bind_query(statement, query);
    while (!stopped && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *value = (const char *)sqlite3_column_text(statement, 0);
        struct dead_letter_group group = {.value = value ? value : "",
                                          .count = (uint64_t)sqlite3_column_int64(statement, 1),
                                          .first_wall_us = sqlite3_column_int64(statement, 2),
                                          .last_wall_us = sqlite3_column_int64(statement, 3)};
        char example[sizeof((struct dead_letter *)0)->id];

        find_example(store, group.last_wall_us, example, sizeof example);
        group.example_id = example;
        stopped = each(argument, &group) != 0;
    }
    if (!stopped && code != SQLITE_DONE)
        dead_letter_sqlite_fault(store, "cannot count", fault);
    sqlite3_finalize(statement);
    return stopped || code == SQLITE_DONE ? 0 : -1;
}

static int count_one(void *argument, const struct dead_letter *letter)
{
    ++*(uint64_t *)argument;
    return 0;
}

int dead_letter_sqlite_count(struct dead_letter_store *base, const struct dead_letter_query *query,
                             uint64_t *ret_count, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    sqlite3_stmt *statement;
    uint64_t count = 0;
    int code;

    if (query->id_prefix) {
        if (dead_letter_sqlite_list(base, query, 0, count_one, &count, fault) != 0)
            return -1;
        *ret_count = count;
        return 0;
    }
    if (sqlite3_prepare_v2(store->db, PARTS "SELECT sum(part.count)" FROM_PARTS, -1, &statement,
                           NULL) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot count", fault);
    bind_query(statement, query);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret_count = (uint64_t)sqlite3_column_int64(statement, 0);
    else
        dead_letter_sqlite_fault(store, "cannot count", fault);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? 0 : -1;
}
