/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/config_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"

#define YAML_TAG    "tag:yaml.org,2002:"
#define KEYS_MAX    1000
#define ANCHORS_MAX 100

struct anchor {
    char *name;
    const struct node *node; /* NULL while it is being read */
};

struct reader {
    yaml_parser_t parser;
    struct config_pool *pool;
    struct problems *problems;
    const char *file;
    size_t nodes;
    struct anchor anchors[ANCHORS_MAX];
    size_t anchor_count;
};

/* Entries of the list or map being read. */
struct entries {
    struct node_entry *items;
    size_t count;
};

static const struct node *read_node(struct reader *reader, yaml_event_t *event, unsigned depth);

static struct place place_of(const struct reader *reader, const yaml_mark_t *mark)
{
    return (struct place){reader->file, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1};
}

/* The next event; false with an error added. The caller deletes it. */
static bool next_event(struct reader *reader, yaml_event_t *event)
{
    yaml_parser_t *parser = &reader->parser;
    struct place place;
    const char *hint = "";

    if (yaml_parser_parse(parser, event))
        return true;
    place = place_of(reader, &parser->problem_mark);
    if (parser->error == YAML_READER_ERROR) {
        problem_add(reader->problems, (struct place){reader->file, 0, 0},
                    "not text in UTF-8: %s (byte %zu)", parser->problem, parser->problem_offset);
        return false;
    }
    if (parser->problem && strstr(parser->problem, "cannot start any token"))
        hint = "; YAML is indented by spaces, not tabs, and text that begins with @, ` or % needs "
               "quotes";
    if (parser->context && parser->context_mark.line)
        problem_add(reader->problems, place, "not YAML: %s %s that began in line %zu%s",
                    parser->problem, parser->context, parser->context_mark.line + 1, hint);
    else
        problem_add(reader->problems, place, "not YAML: %s%s",
                    parser->problem ? parser->problem : "cannot be parsed", hint);
    return false;
}

/* Counts a node against the cap, with all that an alias stands for. */
static bool account(struct reader *reader, struct place place, size_t weight)
{
    if (weight <= CONFIG_NODES_MAX - reader->nodes) {
        reader->nodes += weight;
        return true;
    }
    problem_add(reader->problems, place,
                "more than %d values in one file, with aliases written out; write less of them",
                CONFIG_NODES_MAX);
    return false;
}

static const struct node *keep(struct reader *reader, const struct node *node)
{
    return config_pool_take(reader->pool, node, sizeof *node);
}

/* ---- anchors ---- */

/* Remembers the anchor of a node whose reading begins. Returns its slot, -1: it has none, -2 with
 * an error added. */
static int begin_anchor(struct reader *reader, const yaml_char_t *name, struct place place)
{
    if (!name)
        return -1;
    if (reader->anchor_count == ANCHORS_MAX) {
        problem_add(reader->problems, place, "more than %d anchors in one file", ANCHORS_MAX);
        return -2;
    }
    reader->anchors[reader->anchor_count].name = memory_text((const char *)name);
    reader->anchors[reader->anchor_count].node = NULL;
    return (int)reader->anchor_count++;
}

static const struct node *end_anchor(struct reader *reader, int slot, const struct node *node)
{
    if (slot >= 0)
        reader->anchors[slot].node = node;
    return node;
}

static const struct node *read_alias(struct reader *reader, const yaml_event_t *event)
{
    struct place place = place_of(reader, &event->start_mark);
    const char *name = (const char *)event->data.alias.anchor;
    size_t i;

    for (i = reader->anchor_count; i-- > 0;) {
        const struct anchor *anchor = &reader->anchors[i];

        if (strcmp(anchor->name, name) != 0)
            continue;
        if (!anchor->node) {
            problem_add(reader->problems, place, "*%s stands inside of &%s itself", name, name);
            return NULL;
        }
        return account(reader, place, anchor->node->weight) ? anchor->node : NULL;
    }
    problem_add(reader->problems, place, "*%s: no such anchor before it; mark one with &%s", name,
                name);
    return NULL;
}

/* ---- nodes ---- */

static bool is_null(const char *text)
{
    return strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

/* What a tag makes of a node. False with an error added where it is unknown or does not fit. */
static bool apply_tag(struct reader *reader, const yaml_char_t *yaml_tag, struct node *node)
{
    static const char *const standard[] = {
        [NODE_NULL] = "null", [NODE_TEXT] = "str", [NODE_LIST] = "seq", [NODE_MAP] = "map"};
    const char *tag = (const char *)yaml_tag;

    if (!tag || strcmp(tag, "!") == 0) {
        node->quoted = node->quoted || tag;
        return true;
    }
    if (node->kind == NODE_TEXT) {
        node->reference = strcmp(tag, "!credential") == 0 ? REFERENCE_CREDENTIAL
                          : strcmp(tag, "!env") == 0      ? REFERENCE_ENV
                          : strcmp(tag, "!file") == 0     ? REFERENCE_FILE
                                                          : REFERENCE_NONE;
        if (node->reference != REFERENCE_NONE)
            return true;
    }
    if (strncmp(tag, YAML_TAG, strlen(YAML_TAG)) == 0) {
        const char *name = tag + strlen(YAML_TAG);

        if (strcmp(name, standard[node->kind]) == 0) {
            node->quoted = node->kind == NODE_TEXT;
            return true;
        }
        if (node->kind == NODE_TEXT && !node->quoted &&
            (strcmp(name, "int") == 0 || strcmp(name, "float") == 0 || strcmp(name, "bool") == 0))
            return true;
        problem_add(reader->problems, node->place, "tag !!%.40s does not belong here; leave it out",
                    name);
        return false;
    }
    problem_add(reader->problems, node->place,
                "tag %.40s is unknown here; a single value may be !credential NAME, !env NAME or "
                "!file PATH",
                tag);
    return false;
}

static const struct node *read_text(struct reader *reader, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    struct node node = {
        .kind = NODE_TEXT, .place = place_of(reader, &event->start_mark), .weight = 1};
    int anchor = begin_anchor(reader, event->data.scalar.anchor, node.place);

    if (anchor == -2 || !account(reader, node.place, 1))
        return NULL;
    if (strlen(text) != event->data.scalar.length) {
        problem_add(reader->problems, node.place, "text with a NUL byte in it; leave it out");
        return NULL;
    }
    node.text = config_pool_text(reader->pool, text);
    node.quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!apply_tag(reader, event->data.scalar.tag, &node))
        return NULL;
    if (!node.quoted && node.reference == REFERENCE_NONE && is_null(text))
        node.kind = NODE_NULL;
    return end_anchor(reader, anchor, keep(reader, &node));
}

static bool add_entry(struct reader *reader, struct entries *entries, const char *name,
                      struct place place, const struct node *value)
{
    if (!value)
        return false;
    if (name && entries->count == KEYS_MAX) {
        problem_add(reader->problems, place, "more than %d keys in one map", KEYS_MAX);
        return false;
    }
    entries->items = memory_resize(entries->items, entries->count + 1, sizeof *entries->items);
    entries->items[entries->count++] = (struct node_entry){name, place, value};
    return true;
}

/* Reads a key, which `event` holds. NULL with an error added. */
static const char *read_key(struct reader *reader, const yaml_event_t *event,
                            const struct entries *before)
{
    struct place place = place_of(reader, &event->start_mark);
    const char *name = (const char *)event->data.scalar.value;
    size_t i;

    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.tag || event->data.scalar.anchor) {
        problem_add(reader->problems, place, "a key that is not a plain name; write `name: value`");
        return NULL;
    }
    if (strlen(name) != event->data.scalar.length || strlen(name) > 255) {
        problem_add(reader->problems, place,
                    "a key with a NUL byte in it or of more than 255 bytes");
        return NULL;
    }
    if (strcmp(name, "<<") == 0) {
        problem_add(reader->problems, place,
                    "merge keys (<<) are not part of YAML 1.2; put what mappings share into "
                    "`defaults:` of sluice.yaml");
        return NULL;
    }
    for (i = 0; i < before->count; i++)
        if (strcmp(before->items[i].name, name) == 0) {
            problem_add(reader->problems, place,
                        "%s: the same key stands in line %u already; keep one of them", name,
                        before->items[i].place.line);
            return NULL;
        }
    return config_pool_text(reader->pool, name);
}

/* Reads values, with keys before them in a map, up to the end event. */
static bool read_entries(struct reader *reader, struct entries *entries, enum node_kind kind,
                         unsigned depth)
{
    yaml_event_type_t end = kind == NODE_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;

    for (;;) {
        yaml_event_t event;
        const char *name = NULL;
        struct place place;
        bool ended, good;

        if (!next_event(reader, &event))
            return false;
        ended = event.type == end;
        place = place_of(reader, &event.start_mark);
        if (!ended && kind == NODE_MAP) {
            name = read_key(reader, &event, entries);
            yaml_event_delete(&event);
            if (!name || !next_event(reader, &event))
                return false;
        }
        good = ended || add_entry(reader, entries, name, place, read_node(reader, &event, depth));
        yaml_event_delete(&event);
        if (ended || !good)
            return good;
    }
}

static const struct node *read_collection(struct reader *reader, const yaml_event_t *event,
                                          unsigned depth)
{
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    struct node node = {.kind = is_map ? NODE_MAP : NODE_LIST,
                        .place = place_of(reader, &event->start_mark)};
    size_t before = reader->nodes;
    struct entries entries = {0};
    int anchor = begin_anchor(
        reader, is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor,
        node.place);
    bool good;

    if (anchor == -2 || !account(reader, node.place, 1))
        return NULL;
    if (depth == CONFIG_DEPTH_MAX) {
        problem_add(reader->problems, node.place, "nested more than %d deep", CONFIG_DEPTH_MAX);
        return NULL;
    }
    good =
        apply_tag(reader, is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag,
                  &node) &&
        read_entries(reader, &entries, node.kind, depth + 1);
    if (good) {
        node.entries =
            config_pool_take(reader->pool, entries.items, entries.count * sizeof *entries.items);
        node.count = entries.count;
        node.weight = reader->nodes - before;
    }
    free(entries.items);
    return good ? end_anchor(reader, anchor, keep(reader, &node)) : NULL;
}

/* The node that begins with `event`; NULL with an error added. */
static const struct node *read_node(struct reader *reader, yaml_event_t *event, unsigned depth)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return read_alias(reader, event);
    case YAML_SCALAR_EVENT:
        return read_text(reader, event);
    default:
        return read_collection(reader, event, depth);
    }
}

/* ---- documents ---- */

/* Expects that the stream goes on with nothing. */
static bool expect_end(struct reader *reader)
{
    for (;;) {
        yaml_event_t event;
        yaml_event_type_t type;
        struct place place;

        if (!next_event(reader, &event))
            return false;
        type = event.type;
        place = place_of(reader, &event.start_mark);
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return true;
        if (type != YAML_DOCUMENT_END_EVENT) {
            problem_add(reader->problems, place,
                        "a second document begins here; one file holds one");
            return false;
        }
    }
}

static const struct node *read_document(struct reader *reader)
{
    for (;;) {
        yaml_event_t event;
        yaml_event_type_t type;
        const struct node *node = NULL;

        if (!next_event(reader, &event))
            return NULL;
        type = event.type;
        if (type == YAML_STREAM_END_EVENT)
            node = keep(reader, &(struct node){.place = {reader->file, 1, 1}, .weight = 1});
        else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT)
            node = read_node(reader, &event, 0);
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return node;
        if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT)
            return node && expect_end(reader) ? node : NULL;
    }
}

const struct node *config_tree_parse(struct config_pool *pool, const char *name, const char *text,
                                     size_t size, struct problems *problems)
{
    struct reader reader = {.pool = pool, .problems = problems};
    const struct node *node;

    reader.file = config_pool_text(pool, name);
    if (!yaml_parser_initialize(&reader.parser))
        abort(); /* out of memory */
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size);
    node = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    while (reader.anchor_count)
        free(reader.anchors[--reader.anchor_count].name);
    return node;
}

/* ---- files ---- */

const struct node *config_tree_read(struct config_pool *pool, const char *path,
                                    struct problems *problems)
{
    char *room = memory_new(CONFIG_FILE_MAX + 1);
    ssize_t size = file_read(path, room, CONFIG_FILE_MAX + 1);
    struct place place = {config_pool_text(pool, path), 0, 0};
    const struct node *node = NULL;
    struct fault fault = {.text = ""};
    char limit[UNITS_TEXT];

    if (size < 0)
        problem_add(problems, place, "cannot be read: %s", strerror(errno));
    else if (file_check_owner(path, "the file", &fault))
        problem_add(problems, place, "%s", fault.text);
    else if ((size_t)size > CONFIG_FILE_MAX)
        problem_add(problems, place, "larger than %s, the most that a file may be",
                    units_print_bytes((int64_t)CONFIG_FILE_MAX, limit));
    else
        node = config_tree_parse(pool, path, room, (size_t)size, problems);
    explicit_bzero(room, CONFIG_FILE_MAX + 1);
    free(room);
    return node;
}

/* ---- trees ---- */

const struct node *config_tree_find(const struct node *map, const char *name)
{
    size_t i;

    if (map && map->kind == NODE_MAP)
        for (i = 0; i < map->count; i++)
            if (strcmp(map->entries[i].name, name) == 0)
                return map->entries[i].value;
    return NULL;
}

static bool is_named(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

const struct node *config_tree_merge(struct config_pool *pool, const struct node *base,
                                     const struct node *over, const char *const *whole)
{
    struct node merged;
    struct node_entry *entries;
    size_t i;

    if (!over || !base || over->kind != NODE_MAP || base->kind != NODE_MAP)
        return over ? over : base;
    merged = *over;
    merged.count = 0;
    entries = memory_new((over->count + base->count) * sizeof *entries);
    for (i = 0; i < over->count; i++) {
        struct node_entry entry = over->entries[i];

        if (!is_named(whole, entry.name))
            entry.value =
                config_tree_merge(pool, config_tree_find(base, entry.name), entry.value, whole);
        entries[merged.count++] = entry;
    }
    for (i = 0; i < base->count; i++)
        if (!config_tree_find(over, base->entries[i].name))
            entries[merged.count++] = base->entries[i];
    merged.entries = config_pool_take(pool, entries, merged.count * sizeof *entries);
    free(entries);
    return config_pool_take(pool, &merged, sizeof merged);
}
