/* SPDX-License-Identifier: MIT
 * Patterns, made ready to be tried. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/filter_inside.h"
#include "core/filter_tests.h"

static const char *const parts[] = {"value", "key", "headers", "source", "partition", "timestamp"};
#define PART_WORDS "value (the payload), key, headers, source, partition, timestamp or $or"

enum level { LEVEL_MESSAGE, LEVEL_HEADERS, LEVEL_JSON };

#define FIELDS_MOST 4096 /* of all patterns, those that a path stands for too */

struct compiler {
    struct filter *filter;
    size_t fields;
    struct fault *fault;
    const json_t *where;
};

static int compile_object(struct compiler *compiler, const json_t *json, enum level level,
                          unsigned depth, struct filter_object *ret);

static int refuse(struct compiler *compiler, const json_t *where)
{
    compiler->where = where;
    return -1;
}

static void free_object(struct filter_object *object)
{
    for (size_t i = 0; i < object->field_count; i++) {
        struct filter_field *field = &object->fields[i];

        if (field->object)
            free_object(field->object);
        free(field->object);
        if (field->path)
            free_object(field->path);
        free(field->path);
        filter_tests_free(field->tests, field->test_count);
        free(field->name);
    }
    for (size_t i = 0; i < object->group_count; i++) {
        for (size_t j = 0; j < object->groups[i].object_count; j++)
            free_object(&object->groups[i].objects[j]);
        free(object->groups[i].objects);
    }
    free(object->groups);
    free(object->fields);
}

/* ---- members ---- */

static int compile_group(struct compiler *compiler, const json_t *json, const json_t *parent,
                         enum level level, unsigned depth, struct filter_object *object)
{
    struct filter_group *group;
    size_t count = json_array_size(json);

    if (!json_is_array(json) || count < 2 || count > FILTER_PATTERNS_MOST) {
        fault_set(compiler->fault, "$or: expected a list of 2 to %d alternatives, each a map",
                  FILTER_PATTERNS_MOST);
        return refuse(compiler, json_is_array(json) ? json : parent);
    }
    object->groups =
        memory_resize(object->groups, object->group_count + 1, sizeof *object->groups);
    group = &object->groups[object->group_count++];
    *group = (struct filter_group){memory_zero(count, sizeof *group->objects), 0};
    for (size_t i = 0; i < count; i++) {
        const json_t *alternative = json_array_get(json, i);

        if (!json_is_object(alternative)) {
            fault_set(compiler->fault, "$or: expected each alternative to be a map of fields");
            return refuse(compiler, json);
        }
        if (compile_object(compiler, alternative, level, depth + 1,
                           &group->objects[group->object_count++]))
            return -1;
    }
    return 0;
}

static int check_part(struct compiler *compiler, const char *name, const json_t *value,
                      const json_t *parent)
{
    static const char *const payload_names[] = {"body", "data", "payload"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!strcmp(name, parts[i])) {
            if (i == 2 && !json_is_object(value)) {
                fault_set(compiler->fault,
                          "headers: expected a map, as headers: { NAME: [\"value\"] }");
                return refuse(compiler, parent);
            }
            if (i > 2 && !json_is_array(value)) {
                fault_set(compiler->fault, "%s: expected a list, as %s: [%s]", name, name,
                          i == 3 ? "\"orders\"" : "3");
                return refuse(compiler, parent);
            }
            compiler->filter->reads_headers |= i == 2;
            return 0;
        }
    for (size_t i = 0; i < sizeof payload_names / sizeof payload_names[0]; i++)
        if (!strcmp(name, payload_names[i])) {
            fault_set(compiler->fault, "%s: the payload is called value here", name);
            return refuse(compiler, parent);
        }
    fault_set(compiler->fault, "%.60s: no such part of a message, expected " PART_WORDS, name);
    return refuse(compiler, parent);
}

/* `a.b: X` means also `a: { b: X }`. */
static int compile_path(struct compiler *compiler, const char *name, const json_t *value,
                        unsigned depth, struct filter_field *field)
{
    const char *dot = strchr(name, '.');
    json_t *nested = json_object();
    char *first = memory_text_n(name, (size_t)(dot - name));
    json_t *below = json_object();
    int failed;

    /* Jansson counts references in what it holds, so it has to be given a value that may change. */
    json_object_set_new(below, dot + 1, json_deep_copy(value));
    json_object_set_new(nested, first, below);
    field->path = memory_zero(1, sizeof *field->path);
    failed = compile_object(compiler, nested, LEVEL_JSON, depth, field->path);
    json_decref(nested);
    free(first);
    return failed ? refuse(compiler, value) : 0;
}

static int compile_field(struct compiler *compiler, const char *name, const json_t *value,
                         const json_t *parent, enum level level, unsigned depth,
                         struct filter_object *object)
{
    struct filter_field *field = &object->fields[object->field_count];

    if (level == LEVEL_MESSAGE && check_part(compiler, name, value, parent))
        return -1;
    object->field_count++;
    field->name = memory_text(name);
    field->name_size = strlen(name);
    if (json_is_object(value) && level != LEVEL_HEADERS) {
        field->object = memory_zero(1, sizeof *field->object);
        if (compile_object(compiler, value,
                           level == LEVEL_MESSAGE && !strcmp(name, "headers") ? LEVEL_HEADERS
                                                                               : LEVEL_JSON,
                           depth + 1, field->object))
            return -1;
    } else if (json_is_array(value) && json_array_size(value)) {
        if (filter_tests_compile(value, name, &field->tests, &field->test_count, compiler->fault))
            return refuse(compiler, value);
    } else {
        fault_set(compiler->fault, "%.60s: expected a list of what it may be, as %.60s: [\"paid\"]%s",
                  name, name, level == LEVEL_HEADERS ? "" : ", or a map of fields");
        return refuse(compiler, json_is_array(value) ? value : parent);
    }
    if (level == LEVEL_JSON && strchr(name, '.'))
        return compile_path(compiler, name, value, depth + 1, field);
    return 0;
}

static int compile_object(struct compiler *compiler, const json_t *json, enum level level,
                          unsigned depth, struct filter_object *ret)
{
    const char *name;
    json_t *value;
    size_t count = json_object_size(json);

    compiler->fields += count;
    if (depth > FILTER_DEPTH_MOST || compiler->fields > FIELDS_MOST ||
        count > FILTER_FIELDS_MOST || !count) {
        if (depth > FILTER_DEPTH_MOST)
            fault_set(compiler->fault, "a pattern with more than %d levels", FILTER_DEPTH_MOST);
        else if (compiler->fields > FIELDS_MOST)
            fault_set(compiler->fault, "more than %d fields in all", FIELDS_MOST);
        else
            fault_set(compiler->fault, "found %zu fields, expected 1 to %d", count,
                      FILTER_FIELDS_MOST);
        return refuse(compiler, json);
    }
    ret->fields = memory_zero(count, sizeof *ret->fields);
    json_object_foreach((json_t *)json, name, value)
    {
        if (!strcmp(name, "$or")) {
            if (compile_group(compiler, value, json, level, depth, ret))
                return -1;
        } else if (compile_field(compiler, name, value, json, level, depth, ret)) {
            return -1;
        }
    }
    return 0;
}

/* ---- the whole ---- */

struct filter *filter_compile(const json_t *patterns, struct fault *fault,
                              const json_t **ret_where)
{
    struct compiler compiler = {
        .filter = memory_zero(1, sizeof *compiler.filter), .fault = fault, .where = patterns};
    size_t count = json_is_array(patterns) ? json_array_size(patterns) : 1;
    struct filter *filter = compiler.filter;
    int failed = 0;

    if (count < 1 || count > FILTER_PATTERNS_MOST) {
        failed = fault_set(fault, "found %zu patterns, expected 1 to %d", count,
                           FILTER_PATTERNS_MOST);
        count = 0;
    }
    filter->patterns = memory_zero(count ? count : 1, sizeof *filter->patterns);
    for (size_t i = 0; i < count && !failed; i++) {
        const json_t *pattern = json_is_array(patterns) ? json_array_get(patterns, i) : patterns;

        if (!json_is_object(pattern)) {
            failed = fault_set(fault, "expected a pattern, as { value: { status: [\"paid\"] } }");
            break;
        }
        failed = compile_object(&compiler, pattern, LEVEL_MESSAGE, 0,
                                &filter->patterns[filter->count++]);
    }
    if (ret_where)
        *ret_where = compiler.where;
    if (failed) {
        filter_free(filter);
        return NULL;
    }
    return filter;
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    for (size_t i = 0; i < filter->count; i++)
        free_object(&filter->patterns[i]);
    free(filter->patterns);
    free(filter);
}

struct filter *filter_compile_payload(const char *pattern, struct fault *fault)
{
    json_t *value = json_loads(pattern, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    json_t *whole = value ? json_pack("{s:o}", "value", value) : NULL;
    struct filter *filter;

    if (!whole) {
        fault_set(fault, "the pattern for the payload is not JSON");
        return NULL;
    }
    filter = filter_compile(whole, fault, NULL);
    json_decref(whole);
    if (!filter)
        fault_prefix(fault, "the pattern for the payload");
    return filter;
}
