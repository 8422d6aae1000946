/* SPDX-License-Identifier: MIT
 * Counting letters: whole hours from the tally, the rest of a range from the letters themselves; all
 * of it from those where the query looks into letters. */
#include <string.h>

#include "io/dead_letter_store_sqlite.h"

#define SQL_MOST   8192
#define HOUR_NEVER (INT64_MAX / DEAD_LETTER_HOUR)

/* (kind, hour, count, first, last, bytes) of what there is between two times: `:hour` to `:hour_end`
 * are the whole hours within. */
static const char tallied[] =
    "SELECT kind, hour, count, first, last, bytes FROM tally WHERE hour >= :hour AND"
    " hour < :hour_end UNION ALL "
    "SELECT kind, number / 3600000000, count(*), min(number), max(number), sum(bytes) FROM letter"
    " WHERE number >= :since AND number < min(:until, :hour * 3600000000) GROUP BY 1, 2 UNION ALL "
    "SELECT kind, number / 3600000000, count(*), min(number), max(number), sum(bytes) FROM letter"
    " WHERE number >= max(:since, :hour_end * 3600000000) AND number < :until AND"
    " :hour_end >= :hour AND :hour_end < :never GROUP BY 1, 2";

static const struct {
    const char *field, *expression;
} fields[] = {
    {"error", "error.text"},
    {"class", "kind.class"},
    {"status", "CASE kind.status WHEN 0 THEN 'none' ELSE kind.status END"},
    {"mapping", "mapping.name"},
    {"key", "part.key"},
    {"hour", "strftime('%Y-%m-%dT%H:00Z', part.hour * 3600, 'unixepoch')"},
};

static const char *expression_of(const char *field, struct fault *fault)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcmp(fields[i].field, field) == 0)
            return fields[i].expression;
    fault_set(fault, "cannot group by %s; by error, class, status, mapping, key or hour", field);
    return NULL;
}

/* `WITH part AS (...)`: `step` not NULL: with that expression of the number in place of the hour. */
static void add_part(struct buffer *sql, const struct dead_letter_query *query, bool with_key,
                     const char *step)
{
    buffer_add_text(sql, "WITH part AS (");
    if (!with_key && !step && dead_letter_sqlite_filter_is_tallied(query)) {
        buffer_add_text(sql, tallied);
    } else {
        buffer_format(sql,
                      "SELECT kind, %s AS hour, count(*) AS count, min(number) AS first,"
                      " max(number) AS last, sum(letter.bytes) AS bytes%s FROM letter%s"
                      " WHERE letter.number >= :since AND letter.number < :until",
                      step ? step : "letter.number / 3600000000",
                      with_key ? ", body.key AS key" : "",
                      with_key ? " JOIN body USING (number)" : "");
        dead_letter_sqlite_filter_letters(sql, query);
        buffer_add_text(sql, with_key ? " GROUP BY 1, 2, 7" : " GROUP BY 1, 2");
    }
    buffer_add_text(sql, ") ");
}

static void add_from(struct buffer *sql, const struct dead_letter_query *query)
{
    buffer_add_text(sql, " FROM part JOIN kind ON kind.number = part.kind"
                         " JOIN mapping ON mapping.number = kind.mapping"
                         " JOIN error ON error.number = kind.error WHERE true");
    dead_letter_sqlite_filter_kinds(sql, query);
}

static void bind_number(sqlite3_stmt *statement, const char *name, int64_t number)
{
    int index = sqlite3_bind_parameter_index(statement, name);

    if (index)
        sqlite3_bind_int64(statement, index, number);
}

static void bind_query(sqlite3_stmt *statement, const struct dead_letter_query *query)
{
    int64_t since = 0, until = 0;

    dead_letter_sqlite_filter_range(query, &since, &until);
    dead_letter_sqlite_filter_bind(statement, query);
    bind_number(statement, ":since", since);
    bind_number(statement, ":until", until);
    bind_number(statement, ":hour", (since + DEAD_LETTER_HOUR - 1) / DEAD_LETTER_HOUR);
    bind_number(statement, ":hour_end",
                until == INT64_MAX ? HOUR_NEVER : until / DEAD_LETTER_HOUR);
    bind_number(statement, ":never", HOUR_NEVER);
    bind_number(statement, ":limit", query->limit ? (int64_t)query->limit : -1);
}

/* Prepares and binds; the regular expression stays compiled until dead_letter_sqlite_filter_end. */
static sqlite3_stmt *prepare(struct dead_letter_sqlite *store, struct buffer *sql,
                             const struct dead_letter_query *query, struct fault *fault)
{
    sqlite3_stmt *statement = dead_letter_sqlite_prepare(store, sql, fault);

    if (statement)
        bind_query(statement, query);
    return statement;
}

/* What a row is grouped by; its size is then that of the column's bytes. */
static const char *value_of(sqlite3_stmt *row)
{
    const char *text = (const char *)sqlite3_column_text(row, 0);

    return text || sqlite3_column_type(row, 0) == SQLITE_NULL ? text : "";
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

int dead_letter_sqlite_group(struct dead_letter_store *base, const struct dead_letter_query *query,
                             const char *field,
                             int (*each)(void *argument, const struct dead_letter_group *),
                             void *argument, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    const char *expression = expression_of(field, fault);
    sqlite3_stmt *row;
    struct buffer sql;
    bool stopped = false;
    int code = SQLITE_DONE;

    if (!expression || dead_letter_sqlite_filter_begin(store, query, fault) != 0)
        return -1;
    buffer_init(&sql, SQL_MOST);
    add_part(&sql, query, strcmp(field, "key") == 0, NULL);
    buffer_format(&sql, "SELECT %s AS value, sum(part.count) AS total, min(part.first),"
                        " max(part.last), sum(part.bytes)", expression);
    add_from(&sql, query);
    buffer_add_text(&sql, " GROUP BY value ORDER BY total DESC, value LIMIT :limit");
    row = prepare(store, &sql, query, fault);
    while (row && !stopped && (code = sqlite3_step(row)) == SQLITE_ROW) {
        struct dead_letter_group group = {.value = value_of(row),
                                          .value_size = (size_t)sqlite3_column_bytes(row, 0),
                                          .count = (uint64_t)sqlite3_column_int64(row, 1),
                                          .first_wall_us = sqlite3_column_int64(row, 2),
                                          .last_wall_us = sqlite3_column_int64(row, 3),
                                          .bytes = (uint64_t)sqlite3_column_int64(row, 4)};
        char example[sizeof((struct dead_letter *)0)->id];

        find_example(store, group.last_wall_us, example, sizeof example);
        group.example_id = example;
        stopped = each(argument, &group) != 0;
    }
    if (row && !stopped && code != SQLITE_DONE)
        dead_letter_sqlite_fault(store, "cannot count", fault);
    sqlite3_finalize(row);
    dead_letter_sqlite_filter_end(store);
    return row && (stopped || code == SQLITE_DONE) ? 0 : -1;
}

int dead_letter_sqlite_trend(struct dead_letter_store *base, const struct dead_letter_query *query,
                             const char *field, int64_t step_us,
                             int (*each)(void *argument, const char *value, size_t value_size,
                                         uint64_t step, uint64_t count),
                             void *argument, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    const char *expression = expression_of(field, fault);
    bool hours = step_us % DEAD_LETTER_HOUR == 0;
    sqlite3_stmt *row;
    struct buffer sql;
    bool stopped = false;
    int code = SQLITE_DONE;

    if (!expression || dead_letter_sqlite_filter_begin(store, query, fault) != 0)
        return -1;
    buffer_init(&sql, SQL_MOST);
    add_part(&sql, query, strcmp(field, "key") == 0,
             hours ? NULL : "(letter.number - :since) / :step");
    buffer_format(&sql, "SELECT %s AS value, %s AS step, sum(part.count)", expression,
                  hours ? "(max(part.hour - :since / 3600000000, 0)) / :step" : "part.hour");
    add_from(&sql, query);
    buffer_add_text(&sql, " GROUP BY value, step");
    row = prepare(store, &sql, query, fault);
    if (row)
        bind_number(row, ":step", hours ? step_us / DEAD_LETTER_HOUR : step_us);
    while (row && !stopped && (code = sqlite3_step(row)) == SQLITE_ROW) {
        const char *value = value_of(row);

        stopped = each(argument, value, (size_t)sqlite3_column_bytes(row, 0),
                       (uint64_t)sqlite3_column_int64(row, 1),
                       (uint64_t)sqlite3_column_int64(row, 2)) != 0;
    }
    if (row && !stopped && code != SQLITE_DONE)
        dead_letter_sqlite_fault(store, "cannot count", fault);
    sqlite3_finalize(row);
    dead_letter_sqlite_filter_end(store);
    return row && (stopped || code == SQLITE_DONE) ? 0 : -1;
}

int dead_letter_sqlite_count(struct dead_letter_store *base, const struct dead_letter_query *query,
                             uint64_t *ret_count, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    sqlite3_stmt *row;
    struct buffer sql;
    int code = SQLITE_ERROR;

    if (dead_letter_sqlite_filter_begin(store, query, fault) != 0)
        return -1;
    buffer_init(&sql, SQL_MOST);
    add_part(&sql, query, false, NULL);
    buffer_add_text(&sql, "SELECT sum(part.count)");
    add_from(&sql, query);
    row = prepare(store, &sql, query, fault);
    if (row)
        code = sqlite3_step(row);
    if (code == SQLITE_ROW)
        *ret_count = (uint64_t)sqlite3_column_int64(row, 0);
    else if (row)
        dead_letter_sqlite_fault(store, "cannot count", fault);
    sqlite3_finalize(row);
    dead_letter_sqlite_filter_end(store);
    return code == SQLITE_ROW ? 0 : -1;
}

int dead_letter_sqlite_usage(struct dead_letter_store *base, const char *mapping,
                             struct dead_letter_usage *ret_usage, struct fault *fault)
{
    struct dead_letter_sqlite *store = (struct dead_letter_sqlite *)base;
    sqlite3_stmt *row = dead_letter_sqlite_statement(store, STATEMENT_USAGE);
    int code = SQLITE_ERROR;

    if (row) {
        sqlite3_clear_bindings(row);
        if (mapping)
            sqlite3_bind_text(row, 1, mapping, -1, SQLITE_STATIC);
        code = sqlite3_step(row);
    }
    if (code == SQLITE_ROW)
        *ret_usage =
            (struct dead_letter_usage){.count = (uint64_t)sqlite3_column_int64(row, 0),
                                       .bytes = (uint64_t)sqlite3_column_int64(row, 1)};
    else
        dead_letter_sqlite_fault(store, "cannot count", fault);
    if (row)
        sqlite3_reset(row);
    return code == SQLITE_ROW ? 0 : -1;
}
