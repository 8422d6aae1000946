/* SPDX-License-Identifier: MIT */
#include "service/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "base/units.h"
#include "service/option_identity.h"
#include "service/option_print.h"
#include "service/option_value.h"

struct sluice_values {
    const struct sluice_option *table;
    size_t count; /* of options in the table */
    struct option_value *values;
    bool *suggested; /* an unknown key was taken for this one */
    char *prefix;    /* "" or `source.kafka.` */
    struct place place;
    const struct node *map; /* what was written, NULL: nothing */
    bool publishing;        /* of a connector that takes no messages */
};

static _Thread_local struct problems *refusals;
static _Thread_local size_t refusal_count;

/* ---- look-up ---- */

static size_t table_size(const struct sluice_option *table)
{
    size_t count = 0;

    while (table[count].name)
        count++;
    return count;
}

static size_t index_of(const struct sluice_values *values, const char *name)
{
    size_t i;

    for (i = 0; i < values->count; i++)
        if (strcmp(values->table[i].name, name) == 0)
            break;
    return i;
}

static bool is_type(uint32_t type, const uint32_t *types, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (types[i] == type)
            return true;
    return count == 0;
}

/* The value of `name`; a name that is not in the table or has another type is a mistake in the
 * program that asks. */
static const struct option_value *demand(const struct sluice_values *values, const char *name,
                                         const uint32_t *types, size_t count)
{
    size_t i = index_of(values, name);

    if (i == values->count || !is_type(values->table[i].type, types, count)) {
        fprintf(stderr, "sluice: option %s%s was asked for, but %s\n", values->prefix, name,
                i == values->count ? "no table has it" : "has another type");
        abort();
    }
    return &values->values[i];
}

#define DEMAND(values_, name_, ...)                                                                \
    demand(values_, name_, (const uint32_t[]){__VA_ARGS__},                                        \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

bool options_known(const struct sluice_values *values, const char *name)
{
    return index_of(values, name) < values->count;
}

bool options_is_set(const struct sluice_values *values, const char *name)
{
    return demand(values, name, NULL, 0)->set;
}

const char *options_text(const struct sluice_values *values, const char *name)
{
    return DEMAND(values, name, SLUICE_STRING, SLUICE_ENUM, SLUICE_SECRET, OPTION_PATH)->text;
}

int64_t options_number(const struct sluice_values *values, const char *name)
{
    return DEMAND(values, name, SLUICE_INT, SLUICE_BYTES, SLUICE_DURATION, SLUICE_BOOL,
                  OPTION_INT_RANGE, OPTION_DURATION_RANGE)
        ->number;
}

double options_decimal(const struct sluice_values *values, const char *name)
{
    const char *text = DEMAND(values, name, OPTION_DECIMAL)->text;
    double number = 0;

    if (text)
        units_parse_decimal(text, &number);
    return number;
}

int64_t options_most(const struct sluice_values *values, const char *name)
{
    return DEMAND(values, name, OPTION_INT_RANGE, OPTION_DURATION_RANGE)->most;
}

int options_choice(const struct sluice_values *values, const char *name)
{
    return (int)DEMAND(values, name, SLUICE_ENUM)->number;
}

size_t options_count(const struct sluice_values *values, const char *name)
{
    return DEMAND(values, name, SLUICE_LIST, SLUICE_MAP)->count;
}

const char *options_item(const struct sluice_values *values, const char *name, size_t index,
                         const char **ret_map_value)
{
    const struct option_value *value = DEMAND(values, name, SLUICE_LIST, SLUICE_MAP);

    if (index >= value->count)
        return NULL;
    if (ret_map_value)
        *ret_map_value = value->map_values ? value->map_values[index] : NULL;
    return value->items[index];
}

bool options_is_written(const struct sluice_values *values, const char *name)
{
    return demand(values, name, NULL, 0)->node != NULL;
}

bool options_is_wrong(const struct sluice_values *values, const char *name)
{
    return demand(values, name, NULL, 0)->wrong;
}

const struct node *options_node(const struct sluice_values *values, const char *name)
{
    return demand(values, name, NULL, 0)->node;
}

struct place options_place(const struct sluice_values *values, const char *name)
{
    const struct node *node = demand(values, name, NULL, 0)->node;

    return node ? node->place : values->place;
}

const struct sluice_option *options_table(const struct sluice_values *values)
{
    return values->table;
}

/* ---- refusals ---- */

size_t options_collect(struct problems *problems)
{
    size_t count = refusal_count;

    refusals = problems;
    refusal_count = 0;
    return count;
}

/* The place of `properties.some.key`: of that entry of the map, or as near as can be. */
static struct place place_of_entry(const struct sluice_values *values, const char *name)
{
    size_t i, j;

    for (i = 0; i < values->count; i++) {
        const char *option = values->table[i].name;
        const struct node *node = values->values[i].node;
        size_t size = strlen(option);

        if (!node || strncmp(name, option, size) != 0 || (name[size] && name[size] != '.'))
            continue;
        for (j = 0; name[size] && node->kind == NODE_MAP && j < node->count; j++)
            if (strcmp(node->entries[j].name, name + size + 1) == 0)
                return node->entries[j].place;
        return node->place;
    }
    return values->place;
}

static void refuse(const struct sluice_values *values, const char *name, const char *reason)
{
    refusal_count++;
    if (refusals)
        problem_add(refusals, place_of_entry(values, name), "%s%s: %s", values->prefix, name,
                    reason);
}

const struct sluice_values_api options_api = {
    .struct_size = sizeof options_api,
    .is_set = options_is_set,
    .text = options_text,
    .number = options_number,
    .count = options_count,
    .item = options_item,
    .refuse = refuse,
};

/* ---- reading ---- */

/* Whether `name` is the group of the option: `sasl` of `sasl.username`. */
static bool is_group_of(const char *name, const char *option)
{
    size_t size = strlen(name);

    return strncmp(option, name, size) == 0 && option[size] == '.';
}

static bool has_group(const struct sluice_values *values, const char *name)
{
    size_t i;

    for (i = 0; i < values->count; i++)
        if (is_group_of(name, values->table[i].name))
            return true;
    return false;
}

/* The child keys of `group` ("" for the top) one by one: name in `child`, false at the end. */
static bool next_child(const struct sluice_values *values, const char *group, size_t *at,
                       char *child, size_t room)
{
    for (; *at < values->count; ++*at) {
        const char *rest = values->table[*at].name;

        if (*group) {
            if (!is_group_of(group, rest))
                continue;
            rest += strlen(group) + 1;
        }
        snprintf(child, room, "%.*s", (int)strcspn(rest, "."), rest);
        ++*at;
        return true;
    }
    return false;
}

/* Appends `size, bytes, window`. */
static void list_children(const struct sluice_values *values, const char *group,
                          struct buffer *text)
{
    char child[64], last[64] = "";
    size_t at = 0;

    while (next_child(values, group, &at, child, sizeof child)) {
        if (strcmp(child, last) == 0)
            continue;
        buffer_format(text, "%s%s", *last ? ", " : "", child);
        memcpy(last, child, sizeof last);
    }
}

static void mark_suggested(struct sluice_values *values, const char *path)
{
    size_t i;

    for (i = 0; i < values->count; i++)
        if (strcmp(values->table[i].name, path) == 0 || is_group_of(path, values->table[i].name))
            values->suggested[i] = true;
}

/* The same key in another group: `retry.attempts` for an `attempts` at the top. */
static const char *find_elsewhere(const struct sluice_values *values, const char *name)
{
    size_t i;

    for (i = 0; i < values->count; i++) {
        const char *dot = strrchr(values->table[i].name, '.');

        if (dot && strcmp(dot + 1, name) == 0)
            return values->table[i].name;
    }
    return NULL;
}

static void complain_unknown(struct sluice_values *values, const char *group,
                             const struct node_entry *entry, struct problems *problems)
{
    struct suggest suggest = suggest_begin(entry->name);
    char children[64][64], path[320];
    size_t at = 0, used = 0;
    const char *dot = *group ? "." : "", *elsewhere = find_elsewhere(values, entry->name);
    struct buffer known;

    while (used < 64 && next_child(values, group, &at, children[used], sizeof children[used]))
        suggest_offer(&suggest, children[used++]);
    buffer_init(&known, 4096);
    list_children(values, group, &known);
    if (suggest.nearest) {
        snprintf(path, sizeof path, "%s%s%s", group, dot, suggest.nearest);
        mark_suggested(values, path);
        problem_add(problems, entry->place, "%s%s%s%.80s: no such key; did you mean \"%s\"?",
                    values->prefix, group, dot, entry->name, suggest.nearest);
    } else if (elsewhere) {
        problem_add(problems, entry->place, "%s%s%s%.80s: no such key here; did you mean \"%s%s\"?",
                    values->prefix, group, dot, entry->name, values->prefix, elsewhere);
    } else {
        problem_add(problems, entry->place, "%s%s%s%.80s: no such key; known here: %s",
                    values->prefix, group, dot, entry->name, buffer_text(&known));
    }
    buffer_fini(&known);
}

/* Whether the option may stand here; with an error where not. */
static bool is_in_place(const struct sluice_values *values, const struct sluice_option *option,
                        const struct node_entry *entry, struct problems *problems)
{
    uint32_t use = option->flags & (SLUICE_OPTION_CONSUME | SLUICE_OPTION_PUBLISH);

    if (use == SLUICE_OPTION_CONSUME && values->publishing)
        problem_add(problems, entry->place,
                    "%s%s: has no use where messages are only published to; take it out",
                    values->prefix, option->name);
    else if (use == SLUICE_OPTION_PUBLISH && !values->publishing)
        problem_add(problems, entry->place,
                    "%s%s: is for a place that dead letters go to (dead_letter.to); take it out",
                    values->prefix, option->name);
    else
        return true;
    return false;
}

/* Reads the map of one group; `group` is "" for the top. */
static void read_group(struct sluice_values *values, const char *group, const struct node *map,
                       struct problems *problems)
{
    size_t i;

    if (map->kind == NODE_NULL)
        return;
    if (map->kind != NODE_MAP) {
        struct buffer known;
        size_t size = strlen(values->prefix);

        buffer_init(&known, 4096);
        list_children(values, group, &known);
        problem_add(problems, map->place, "%.*s%s%sfound %s, expected a map of %s",
                    (int)(*group ? size
                          : size ? size - 1
                                 : 0),
                    values->prefix, group, *group || size ? ": " : "", option_value_found(map),
                    buffer_text(&known));
        buffer_fini(&known);
        return;
    }
    for (i = 0; i < map->count; i++) {
        const struct node_entry *entry = &map->entries[i];
        char name[512], path[640];
        size_t found;

        snprintf(name, sizeof name, "%s%s%s", group, *group ? "." : "", entry->name);
        snprintf(path, sizeof path, "%s%s", values->prefix, name);
        found = strchr(entry->name, '.') ? values->count : index_of(values, name);
        if (found < values->count) {
            if (is_in_place(values, &values->table[found], entry, problems))
                option_value_read(&values->table[found], path, entry->value,
                                  &values->values[found], problems);
        } else if (!strchr(entry->name, '.') && has_group(values, name))
            read_group(values, name, entry->value, problems);
        else if (options_known(values, name))
            problem_add(problems, entry->place, "%s: a dotted key; write the parts as nested maps",
                        path);
        else
            complain_unknown(values, group, entry, problems);
    }
}

/* Where a missing option would stand: at the key of the group around it, as far as that is written.
 * Nothing is missing within something that is no map, which has an error already: false. */
static bool find_place(const struct sluice_values *values, const char *name,
                       struct place *ret_place)
{
    const struct node *map = values->map;
    const char *dot;

    *ret_place = values->place;
    for (; map && map->kind == NODE_MAP && (dot = strchr(name, '.')); name = dot + 1) {
        char *group = memory_text_n(name, (size_t)(dot - name));
        const struct node *inner = config_tree_find(map, group);

        free(group);
        if (inner)
            *ret_place = inner->place;
        map = inner;
    }
    return !map || map->kind == NODE_MAP || map->kind == NODE_NULL;
}

static bool is_required(const struct sluice_values *values, const struct sluice_option *option)
{
    return option->flags & SLUICE_OPTION_REQUIRED &&
           !(values->publishing && option->flags & SLUICE_OPTION_CONSUME);
}

static void fill_defaults(struct sluice_values *values, struct problems *problems)
{
    size_t i;

    for (i = 0; i < values->count; i++) {
        const struct sluice_option *option = &values->table[i];
        struct option_value *value = &values->values[i];
        struct place place;

        if (value->set)
            continue;
        if (!value->node && is_required(values, option) && !values->suggested[i]) {
            if (find_place(values, option->name, &place))
                problem_add(problems, place, "%s%s: missing. %s", values->prefix, option->name,
                            option->help);
            continue;
        }
        if (!option_value_default(option, value))
            problem_add(problems, values->place,
                        "%s%s: its own default \"%s\" does not fit; the connector has a mistake",
                        values->prefix, option->name, option->default_text);
    }
}

static struct sluice_values *read_values(const struct sluice_option *table, const char *prefix,
                                         const struct node *map, struct place place,
                                         bool publishing, struct problems *problems)
{
    struct sluice_values *values = memory_zero(1, sizeof *values);

    values->table = table;
    values->count = table_size(table);
    values->values = memory_zero(values->count, sizeof *values->values);
    values->suggested = memory_zero(values->count, sizeof *values->suggested);
    values->prefix = prefix ? memory_format("%s.", prefix) : memory_text("");
    values->place = place;
    values->map = map;
    values->publishing = publishing;
    if (map)
        read_group(values, "", map, problems);
    fill_defaults(values, problems);
    return values;
}

struct sluice_values *options_read(const struct sluice_option *table, const char *prefix,
                                   const struct node *map, struct place place,
                                   struct problems *problems)
{
    return read_values(table, prefix, map, place, false, problems);
}

struct sluice_values *options_read_place(const struct sluice_option *table, const char *prefix,
                                         const struct node *map, struct place place,
                                         struct problems *problems)
{
    return read_values(table, prefix, map, place, true, problems);
}

void options_free(struct sluice_values *values)
{
    size_t i;

    if (!values)
        return;
    for (i = 0; i < values->count; i++)
        option_value_fini(&values->values[i]);
    free(values->values);
    free(values->suggested);
    free(values->prefix);
    free(values);
}

/* ---- printing ---- */

void options_print(const struct sluice_values *values, const char *name, struct buffer *buffer)
{
    size_t i = index_of(values, name);

    demand(values, name, NULL, 0);
    option_print(&values->table[i], &values->values[i], buffer);
}

void options_print_all(const struct sluice_values *values, struct buffer *buffer)
{
    size_t i;

    for (i = 0; i < values->count; i++) {
        const struct sluice_option *option = &values->table[i];

        if (!values->values[i].set || option->type == OPTION_ELSEWHERE ||
            option->type == SLUICE_SECRET)
            continue;
        buffer_format(buffer, "%s%s=", values->prefix, option->name);
        option_print(option, &values->values[i], buffer);
        buffer_add_text(buffer, "\n");
    }
}

void options_identify(const struct sluice_values *values, identity_fn add, void *argument)
{
    for (size_t i = 0; i < values->count; i++)
        if (values->values[i].set && values->table[i].type != OPTION_ELSEWHERE)
            option_identify(&values->table[i], &values->values[i], add, argument);
}
