/* SPDX-License-Identifier: MIT */
#include "service/replay_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/memory.h"
#include "io/json_value.h"

enum kind { TEXT, BOOL, NUMBER32, NUMBER64, CHOICE, KEY };

struct member {
    const char *name;
    enum kind kind;
    size_t at;
    const char *const *words; /* CHOICE: from 0 on, ends with NULL */
};

static const char *const sorts[] = {"newest", "oldest", "attempts", NULL};
static const char *const replayed[] = {"any", "replayed", "never", NULL};

#define QUERY(member) offsetof(struct dead_letter_query, member)

static const struct member query_members[] = {
    {"mapping", TEXT, QUERY(mapping), NULL},
    {"class", TEXT, QUERY(class_name), NULL},
    {"status", NUMBER32, QUERY(status), NULL},
    {"status_to", NUMBER32, QUERY(status_to), NULL},
    {"no_status", BOOL, QUERY(no_status), NULL},
    {"error", TEXT, QUERY(error), NULL},
    {"where", TEXT, QUERY(where), NULL},
    {"key", KEY, QUERY(key), NULL},
    {"token", TEXT, QUERY(token), NULL},
    {"attempts_from", NUMBER32, QUERY(attempts_from), NULL},
    {"attempts_to", NUMBER32, QUERY(attempts_to), NULL},
    {"replayed", CHOICE, QUERY(replayed), replayed},
    {"since_us", NUMBER64, QUERY(since_wall_us), NULL},
    {"until_us", NUMBER64, QUERY(until_wall_us), NULL},
    {"sort", CHOICE, QUERY(sort), sorts},
    {"limit", NUMBER32, QUERY(limit), NULL},
    {0},
};

#define ORDER(member) offsetof(struct replay_order, member)

static const struct member order_members[] = {
    {"skip", NUMBER64, ORDER(skip), NULL},
    {"to", TEXT, ORDER(to), NULL},
    {"to_source", BOOL, ORDER(to_source), NULL},
    {"force", BOOL, ORDER(force), NULL},
    {"rate", NUMBER32, ORDER(rate), NULL},
    {"concurrency", NUMBER32, ORDER(concurrency), NULL},
    {"max_failures", NUMBER64, ORDER(max_failures), NULL},
    {"detail", TEXT, ORDER(act.detail), NULL},
    {"login", TEXT, ORDER(act.login), NULL},
    {0},
};

#define STATUS(member) offsetof(struct replay_status, member)

static const struct member status_members[] = {
    {"selected", NUMBER64, STATUS(selected), NULL},
    {"done", NUMBER64, STATUS(done), NULL},
    {"already", NUMBER64, STATUS(already), NULL},
    {"died", NUMBER64, STATUS(died), NULL},
    {"gone", NUMBER64, STATUS(gone), NULL},
    {"changed", NUMBER64, STATUS(changed), NULL},
    {"too_many", BOOL, STATUS(too_many), NULL},
    {"down", BOOL, STATUS(down), NULL},
    {0},
};

/* ---- writing ---- */

static json_t *key_json(const struct sluice_bytes *key)
{
    char *text;
    json_t *json;

    if (!key->data)
        return NULL;
    json = json_stringn(key->data, key->size);
    if (json)
        return json;
    text = memory_new(BASE64_SIZE(key->size) + 1);
    *base64_write(text, key->data, key->size) = '\0';
    json = json_pack("{s:s}", "base64", text);
    free(text);
    return json;
}

/* NULL where there is nothing to say, or for a text that is not UTF-8. */
static json_t *member_json(const struct member *member, const void *place)
{
    switch (member->kind) {
    case TEXT: {
        const char *text = *(const char *const *)place;

        return text ? json_string(text) : NULL;
    }
    case BOOL:
        return *(const bool *)place ? json_true() : NULL;
    case NUMBER32:
        return *(const uint32_t *)place ? json_integer(*(const uint32_t *)place) : NULL;
    case NUMBER64:
        return *(const int64_t *)place ? json_integer(*(const int64_t *)place) : NULL;
    case CHOICE:
        return json_string(member->words[*(const unsigned *)place]);
    default:
        return key_json(place);
    }
}

static int write_members(const struct member *member, const void *from, json_t *object,
                         struct fault *fault)
{
    for (; member->name; member++) {
        const void *place = (const char *)from + member->at;
        json_t *value = member_json(member, place);

        if (value)
            json_object_set_new(object, member->name, value);
        else if (member->kind == TEXT && *(const char *const *)place)
            return fault_set(fault, "%s: it is not UTF-8, as what goes to the service has to be",
                             member->name);
    }
    return 0;
}

json_t *replay_order_write(const struct replay_order *order, struct fault *fault)
{
    json_t *object = json_object(), *query = json_object(), *ids = json_array();
    int result = write_members(order_members, order, object, fault);

    if (result == 0)
        result = write_members(query_members, &order->query, query, fault);
    for (size_t i = 0; i < order->id_count; i++)
        json_array_append_new(ids, json_string(order->ids[i]));
    json_object_set_new(object, order->id_count ? "ids" : "query",
                        json_incref(order->id_count ? ids : query));
    json_decref(ids);
    json_decref(query);
    if (result == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* ---- reading ---- */

static int read_key(const json_t *value, struct replay_order_memory *memory, struct fault *fault)
{
    const char *text = json_string_value(value);
    const char *coded = json_string_value(json_object_get(value, "base64"));
    struct sluice_bytes *key = &memory->order.query.key;

    if (text) {
        *key = (struct sluice_bytes){text, json_string_length(value)};
        return 0;
    }
    if (coded) {
        memory->key = memory_new(strlen(coded) + 1);
        *key = (struct sluice_bytes){memory->key,
                                     base64_read(memory->key, coded, strlen(coded))};
        if (key->size != SIZE_MAX)
            return 0;
    }
    return fault_set(fault, "key: a string or {\"base64\": ...} is expected");
}

static int read_choice(const struct member *member, const json_t *value, unsigned *ret)
{
    const char *text = json_string_value(value);

    for (*ret = 0; text && member->words[*ret]; (*ret)++)
        if (strcmp(member->words[*ret], text) == 0)
            return 0;
    return -1;
}

static int read_value(const struct member *member, json_t *value, void *place)
{
    json_int_t number = json_integer_value(value);

    switch (member->kind) {
    case TEXT:
        *(const char **)place = json_string_value(value);
        return json_is_string(value) && strlen(json_string_value(value)) ==
                                            json_string_length(value) ? 0 : -1;
    case BOOL:
        *(bool *)place = json_is_true(value);
        return json_is_boolean(value) ? 0 : -1;
    case NUMBER32:
        *(uint32_t *)place = (uint32_t)number;
        return json_is_integer(value) && number >= 0 && number <= UINT32_MAX ? 0 : -1;
    case NUMBER64:
        *(int64_t *)place = number;
        return json_is_integer(value) && number >= 0 ? 0 : -1;
    default:
        return read_choice(member, value, place);
    }
}

static int read_members(const struct member *members, json_t *object,
                        struct replay_order_memory *memory, void *into, struct fault *fault)
{
    static const char *const expected[] = {
        "a string", "true or false", "a number from 0 to 4294967295", "a number not below 0",
        "one of its words"};
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        const struct member *member = members;

        if (members == order_members && (!strcmp(name, "query") || !strcmp(name, "ids")))
            continue;
        while (member->name && strcmp(member->name, name) != 0)
            member++;
        if (!member->name)
            return fault_set(fault, "%.64s: there is no such member", name);
        if (member->kind == KEY) {
            if (read_key(value, memory, fault) != 0)
                return -1;
        } else if (read_value(member, value, (char *)into + member->at) != 0) {
            return fault_set(fault, "%s: %s is expected", name, expected[member->kind]);
        }
    }
    return 0;
}

static int read_ids(const json_t *list, struct replay_order_memory *memory, struct fault *fault)
{
    size_t count = json_array_size(list);

    if (!count)
        return fault_set(fault, "ids: a list of ids is expected");
    memory->ids = memory_zero(count, sizeof *memory->ids);
    for (size_t i = 0; i < count; i++) {
        memory->ids[i] = json_string_value(json_array_get(list, i));
        if (!memory->ids[i] || strlen(memory->ids[i]) != 26)
            return fault_set(fault, "ids: whole ids of 26 characters are expected");
    }
    memory->order.ids = memory->ids;
    memory->order.id_count = count;
    return 0;
}

int replay_order_read(json_t *json, struct replay_order_memory *ret_memory, struct fault *fault)
{
    struct replay_order *order = &ret_memory->order;
    json_t *query = json_object_get(json, "query"), *ids = json_object_get(json, "ids");

    *ret_memory = (struct replay_order_memory){.json = json_incref(json)};
    order->query.sort = DEAD_LETTER_OLDEST;
    if (!json_is_object(json) || (!ids && !json_is_object(query)))
        return fault_set(fault, "which letters? \"ids\": [...] or \"query\": {...} is expected");
    if (read_members(order_members, json, ret_memory, order, fault) != 0 ||
        read_members(query_members, query, ret_memory, &order->query, fault) != 0)
        return -1;
    return ids ? read_ids(ids, ret_memory, fault) : 0;
}

void replay_order_fini(struct replay_order_memory *memory)
{
    json_decref(memory->json);
    free(memory->key);
    free(memory->ids);
}

/* ---- status ---- */

void replay_status_write(const struct replay_status *status, json_t *object)
{
    for (const struct member *member = status_members; member->name; member++) {
        const void *place = (const char *)status + member->at;

        json_object_set_new(object, member->name,
                            member->kind == BOOL
                                ? json_boolean(*(const bool *)place)
                                : json_integer((json_int_t) * (const uint64_t *)place));
    }
    json_object_set_new(object, "reason", json_value_text(status->text));
}

void replay_status_read(const json_t *object, struct replay_status *ret_status)
{
    const char *reason = json_string_value(json_object_get(object, "reason"));

    *ret_status = (struct replay_status){0};
    for (const struct member *member = status_members; member->name; member++)
        read_value(member, json_object_get(object, member->name), (char *)ret_status + member->at);
    if (reason)
        memcpy(ret_status->text, reason, strnlen(reason, sizeof ret_status->text - 1));
}
