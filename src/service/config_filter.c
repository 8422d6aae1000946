/* SPDX-License-Identifier: MIT */
#include "service/config_filter.h"

#include <string.h>

#include "base/json_scan.h"

/* What a scalar means, by YAML's core rules as far as JSON has them. */
static json_t *scalar_of(const char *text, bool quoted)
{
    struct json_scan_value value;
    size_t size = strlen(text);
    json_t *scalar;

    if (quoted || !json_scan(text, size, NULL, 0, &value))
        return json_string(text);
    switch (value.kind) {
    case JSON_SCAN_NUMBER:
        scalar = json_loads(text, JSON_DECODE_ANY, NULL);
        /* Too large for an integer of this machine: as a double. */
        return scalar ? scalar : json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    case JSON_SCAN_TRUE:
        return json_true();
    case JSON_SCAN_FALSE:
        return json_false();
    default:
        return json_string(text);
    }
}

static json_t *json_of(const struct node *node)
{
    json_t *json;

    switch (node->kind) {
    case NODE_TEXT:
        return scalar_of(node->text, node->quoted);
    case NODE_LIST:
        json = json_array();
        for (size_t i = 0; i < node->count; i++)
            json_array_append_new(json, json_of(node->entries[i].value));
        return json;
    case NODE_MAP:
        json = json_object();
        for (size_t i = 0; i < node->count; i++)
            json_object_set_new(json, node->entries[i].name, json_of(node->entries[i].value));
        return json;
    case NODE_NULL:
        break;
    }
    return json_null();
}

/* The node that `where`, a list or map within `json`, was made from; NULL: another. */
static const struct node *find_node(const struct node *node, const json_t *json,
                                    const json_t *where)
{
    const struct node *found = json == where ? node : NULL;

    for (size_t i = 0; i < node->count && !found; i++)
        found = find_node(node->entries[i].value,
                          node->kind == NODE_LIST ? json_array_get(json, i)
                                                  : json_object_get(json, node->entries[i].name),
                          where);
    return found;
}

/* Secrets have no business here, and would be printed. */
static const struct node *find_reference(const struct node *node)
{
    const struct node *found = node->reference != REFERENCE_NONE ? node : NULL;

    for (size_t i = 0; i < node->count && !found; i++)
        found = find_reference(node->entries[i].value);
    return found;
}

struct filter *config_filter_read(const struct node *node, char **ret_text,
                                  struct problems *problems)
{
    const struct node *place = find_reference(node);
    const json_t *where = NULL;
    struct fault fault = {.text = ""};
    struct filter *filter;
    json_t *json;

    if (place) {
        problem_add(problems, place->place, "filter: found a reference to a value elsewhere, "
                                            "expected the value itself");
        return NULL;
    }
    json = json_of(node);
    filter = filter_compile(json, &fault, &where);
    if (filter) {
        *ret_text = json_dumps(json, JSON_COMPACT);
    } else {
        place = where ? find_node(node, json, where) : NULL;
        problem_add(problems, place ? place->place : node->place, "filter: %s", fault.text);
    }
    json_decref(json);
    return filter;
}

char *config_filter_payload(const char *text, struct fault *fault)
{
    struct config_pool *pool = config_pool_new();
    struct problems problems = {0};
    const struct node *node = config_tree_parse(pool, "", text, strlen(text), &problems);
    json_t *pattern = node ? json_of(node) : NULL;
    json_t *whole = pattern ? json_pack("{s:O}", "value", pattern) : NULL;
    struct filter *filter = whole ? filter_compile(whole, fault, NULL) : NULL;
    char *compact = filter ? json_dumps(pattern, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    if (!node)
        fault_set(fault, "%s", problems.count ? problems.items[0].text : "not YAML");
    filter_free(filter);
    json_decref(whole);
    json_decref(pattern);
    problem_free_all(&problems);
    config_pool_free(pool);
    return compact;
}
