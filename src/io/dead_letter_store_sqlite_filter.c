/* SPDX-License-Identifier: MIT
 * By what letters are chosen, as SQL. */
#include <string.h>

#include "core/filter.h"
#include "io/dead_letter_store_id.h"
#include "io/dead_letter_store_sqlite.h"

/* SQL function matches(text): whether the query's regular expression is somewhere in it. */
static void matches(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct dead_letter_sqlite *store = sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(values[0]);

    (void)count;
    sqlite3_result_int(context,
                       text && store->has_error && regexec(&store->error, text, 0, NULL, 0) == 0);
}

/* SQL function passes(payload): whether the query's pattern matches; what it cannot tell does not. */
static void passes(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct dead_letter_sqlite *store = sqlite3_user_data(context);
    struct filter_message message = {.partition = -1};
    struct fault why;

    (void)count;
    if (sqlite3_value_type(values[0]) != SQLITE_NULL) {
        /* An empty blob has no address of its own, and is not absent. */
        const void *data = sqlite3_value_blob(values[0]);

        message.payload =
            (struct sluice_bytes){data ? data : "", (size_t)sqlite3_value_bytes(values[0])};
    }
    sqlite3_result_int(context, store->where && filter_try(store->where, &message,
                                                           &store->unescaped, &why) == FILTER_YES);
}

static int begin_where(struct dead_letter_sqlite *store, const char *text, struct fault *fault)
{
    store->where = filter_compile_payload(text, fault);
    if (!store->where)
        return -1;
    buffer_init(&store->unescaped, (size_t)1 << 30);
    if (sqlite3_create_function(store->db, "passes", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, store,
                                passes, NULL, NULL) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot read", fault);
    return 0;
}

int dead_letter_sqlite_filter_begin(struct dead_letter_sqlite *store,
                                    const struct dead_letter_query *query, struct fault *fault)
{
    char why[128];
    int code;

    dead_letter_sqlite_filter_end(store);
    if (query->where && begin_where(store, query->where, fault) != 0)
        return -1;
    if (!query->error)
        return 0;
    code = regcomp(&store->error, query->error, REG_EXTENDED | REG_NOSUB);
    if (code) {
        regerror(code, &store->error, why, sizeof why);
        dead_letter_sqlite_filter_end(store);
        return fault_set(fault, "\"%s\" is no regular expression: %s", query->error, why);
    }
    store->has_error = true;
    if (sqlite3_create_function(store->db, "matches", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, store,
                                matches, NULL, NULL) != SQLITE_OK)
        return dead_letter_sqlite_fault(store, "cannot read", fault);
    return 0;
}

void dead_letter_sqlite_filter_end(struct dead_letter_sqlite *store)
{
    if (store->has_error)
        regfree(&store->error);
    store->has_error = false;
    if (store->where)
        buffer_fini(&store->unescaped);
    filter_free(store->where);
    store->where = NULL;
}

bool dead_letter_sqlite_filter_is_tallied(const struct dead_letter_query *query)
{
    return !query->error && !query->where && !query->key.data && !query->token && !query->attempts_from &&
           !query->attempts_to && !query->replayed && !query->id_prefix;
}

bool dead_letter_sqlite_filter_has_kinds(const struct dead_letter_query *query)
{
    return query->mapping || query->class_name || query->status || query->no_status;
}

void dead_letter_sqlite_filter_kinds(struct buffer *sql, const struct dead_letter_query *query)
{
    if (query->mapping)
        buffer_add_text(sql, " AND mapping.name = :mapping");
    if (query->class_name)
        buffer_add_text(sql, " AND kind.class = :class");
    if (query->status)
        buffer_add_text(sql, " AND kind.status BETWEEN :status AND :status_to");
    if (query->no_status)
        buffer_add_text(sql, " AND kind.status = 0");
}

void dead_letter_sqlite_filter_letters(struct buffer *sql, const struct dead_letter_query *query)
{
    /* Part by part, each of which is found by skipping the one before. */
    if (query->token)
        buffer_add_text(sql, " AND letter.number IN (WITH RECURSIVE parts (part) AS"
                             " (SELECT min(part) FROM letter UNION ALL"
                             "  SELECT (SELECT min(letter.part) FROM letter"
                             "   WHERE letter.part > parts.part) FROM parts WHERE part IS NOT NULL)"
                             " SELECT named.number FROM letter AS named"
                             " WHERE named.part IN parts AND named.token = :token)");
    if (query->attempts_from)
        buffer_add_text(sql, " AND letter.attempt_count >= :attempts_from");
    if (query->attempts_to)
        buffer_add_text(sql, " AND letter.attempt_count <= :attempts_to");
    if (query->replayed == DEAD_LETTER_REPLAYED)
        buffer_add_text(sql, " AND letter.replay_count > 0");
    if (query->replayed == DEAD_LETTER_NEVER_REPLAYED)
        buffer_add_text(sql, " AND letter.replay_count = 0");
    if (query->id_prefix)
        buffer_add_text(sql, " AND substr(letter.id, 1, length(:id)) = upper(:id)");
    if (query->error)
        buffer_add_text(sql, " AND matches(letter.reason)");
    if (query->key.data)
        buffer_add_text(sql, " AND (SELECT body.key FROM body WHERE body.number = letter.number)"
                             " = :key");
    /* The costly one last. */
    if (query->where)
        buffer_add_text(sql, " AND passes((SELECT body.payload FROM body WHERE body.number = "
                             "letter.number))");
}

static void bind_text(sqlite3_stmt *statement, const char *name, const char *text)
{
    int index = sqlite3_bind_parameter_index(statement, name);

    if (index && text)
        sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *statement, const char *name, int64_t number)
{
    int index = sqlite3_bind_parameter_index(statement, name);

    if (index)
        sqlite3_bind_int64(statement, index, number);
}

void dead_letter_sqlite_filter_bind(sqlite3_stmt *statement,
                                    const struct dead_letter_query *query)
{
    int key = sqlite3_bind_parameter_index(statement, ":key");

    bind_text(statement, ":mapping", query->mapping);
    bind_text(statement, ":class", query->class_name);
    bind_number(statement, ":status", query->status);
    bind_number(statement, ":status_to", query->status_to ? query->status_to : query->status);
    bind_text(statement, ":token", query->token);
    bind_number(statement, ":attempts_from", query->attempts_from);
    bind_number(statement, ":attempts_to", query->attempts_to);
    bind_text(statement, ":id", query->id_prefix);
    if (key)
        sqlite3_bind_blob64(statement, key, query->key.data, query->key.size, SQLITE_STATIC);
}

sqlite3_stmt *dead_letter_sqlite_prepare(struct dead_letter_sqlite *store, struct buffer *sql,
                                         struct fault *fault)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(store->db, buffer_text(sql), -1, &statement, NULL) != SQLITE_OK)
        dead_letter_sqlite_fault(store, "cannot read", fault);
    buffer_fini(sql);
    return statement;
}

bool dead_letter_sqlite_filter_range(const struct dead_letter_query *query, int64_t *ret_since,
                                     int64_t *ret_until)
{
    int64_t since = query->since_wall_us > 0 ? query->since_wall_us : 0;
    int64_t until = query->until_wall_us ? query->until_wall_us : INT64_MAX, first, end;

    if (query->id_prefix) {
        if (dead_letter_store_id_range(query->id_prefix, &first, &end) != 0)
            return false;
        since = first > since ? first : since;
        until = end < until ? end : until;
    }
    *ret_since = since;
    *ret_until = until;
    return since < until;
}
