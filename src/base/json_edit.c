/* SPDX-License-Identifier: MIT */
#include "base/json_edit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/json_text.h"

#define NAME_MOST 4096

/* ---- tokens of a valid text ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_space(const char *json, size_t size, size_t at)
{
    while (at < size && is_space(json[at]))
        at++;
    return at;
}

static size_t skip_string(const char *json, size_t at)
{
    for (at++; json[at] != '"'; at++)
        at += json[at] == '\\';
    return at + 1;
}

/* The place after the value at `at`. */
static size_t skip_value(const char *json, size_t size, size_t at)
{
    size_t depth = 0;

    do {
        at = skip_space(json, size, at);
        if (json[at] == '"') {
            at = skip_string(json, at);
        } else if (json[at] == '{' || json[at] == '[') {
            depth++;
            at++;
        } else if (json[at] == '}' || json[at] == ']') {
            depth--;
            at++;
        } else if (json[at] == ',' || json[at] == ':') {
            at++;
        } else {
            while (at < size && !is_space(json[at]) && !strchr(",]}", json[at]))
                at++;
        }
    } while (depth && at < size);
    return at;
}

/* ---- finding ---- */

struct place {
    size_t from, to; /* of the value; where they are equal, a new one goes there */
    bool first;      /* no other before the new one */
};

static bool name_is(const char *json, size_t from, size_t to, const struct buffer *step)
{
    struct json_scan_value string = {JSON_SCAN_STRING, json + from + 1, to - from - 2};
    struct buffer name;
    bool same;

    buffer_init(&name, NAME_MOST);
    json_scan_unescape(&name, &string);
    same = !name.full && name.size == step->size &&
           (!step->size || memcmp(name.data, step->data, step->size) == 0);
    buffer_fini(&name);
    return same;
}

/* Narrows the place, an object, to the member; returns whether there is one. */
static bool find_member(const char *json, size_t size, const struct buffer *step,
                        struct place *place)
{
    size_t at = skip_space(json, size, place->from + 1), before = place->from + 1;
    struct place found = {0};

    while (json[at] != '}') {
        size_t name = at, name_end = skip_string(json, at);

        at = skip_space(json, size, skip_space(json, size, name_end) + 1); /* the colon */
        before = skip_value(json, size, at);
        if (name_is(json, name, name_end, step))
            found = (struct place){at, before, false};
        at = skip_space(json, size, before);
        if (json[at] == ',')
            at = skip_space(json, size, at + 1);
    }
    if (found.to) {
        *place = found;
        return true;
    }
    *place = (struct place){before, before, before == place->from + 1};
    return false;
}

static bool find_element(const char *json, size_t size, const struct buffer *step,
                         struct place *place)
{
    size_t at = skip_space(json, size, place->from + 1), before = place->from + 1;
    char *end = NULL;
    bool append = step->size == 1 && step->data[0] == '-';
    unsigned long index = append || !step->size ? 0 : strtoul(step->data, &end, 10);

    if (!append && (!step->size || *end || step->data[0] < '0' || step->data[0] > '9' ||
                    (step->size > 1 && step->data[0] == '0'))) {
        *place = (struct place){0, 0, false};
        return false;
    }
    for (unsigned long i = 0; json[at] != ']'; i++) {
        before = skip_value(json, size, at);
        if (!append && i == index) {
            *place = (struct place){at, before, false};
            return true;
        }
        at = skip_space(json, size, before);
        if (json[at] == ',')
            at = skip_space(json, size, at + 1);
    }
    *place = append ? (struct place){before, before, before == place->from + 1}
                    : (struct place){0, 0, false};
    return false;
}

/* Takes the next step off the pointer: what is between two slashes, without escapes. */
static const char *next_step(const char *pointer, struct buffer *ret_step)
{
    buffer_reset(ret_step);
    for (pointer++; *pointer && *pointer != '/'; pointer++) {
        if (*pointer == '~' && (pointer[1] == '0' || pointer[1] == '1'))
            buffer_add(ret_step, *++pointer == '0' ? "~" : "/", 1);
        else
            buffer_add(ret_step, pointer, 1);
    }
    buffer_text(ret_step);
    return pointer;
}

static int nowhere(struct fault *fault, const char *pointer)
{
    return fault_set(fault, "there is no %s in it, and nothing to add it to", pointer);
}

/* ---- changing ---- */

static void add_member(struct buffer *ret, const struct place *place, const struct buffer *step,
                       bool object)
{
    if (!place->first)
        buffer_add(ret, ",", 1);
    if (!object)
        return;
    buffer_add(ret, "\"", 1);
    if (step->size && buffer_reserve(ret, json_text_size(step->data, step->size)))
        ret->size = (size_t)(json_text_write(ret->data + ret->size, step->data, step->size) -
                             ret->data);
    buffer_add(ret, "\":", 2);
}

static int set_at(struct buffer *ret, const char *json, size_t size, const char *pointer,
                  const char *value, size_t value_size, struct buffer *step, struct fault *fault)
{
    size_t from = skip_space(json, size, 0);
    struct place place = {from, skip_value(json, size, from), false};
    const char *left = pointer;
    bool found = true, object = false;

    while (*left) {
        if (!found || (json[place.from] != '{' && json[place.from] != '['))
            return nowhere(fault, pointer);
        object = json[place.from] == '{';
        left = next_step(left, step);
        found = object ? find_member(json, size, step, &place)
                       : find_element(json, size, step, &place);
        if (!place.to)
            return nowhere(fault, pointer);
    }
    buffer_add(ret, json, place.from);
    if (!found)
        add_member(ret, &place, step, object);
    buffer_add(ret, value, value_size);
    buffer_add(ret, json + place.to, size - place.to);
    return ret->full ? fault_set(fault, "it would become larger than %zu MiB", ret->cap >> 20) : 0;
}

int json_edit_set(struct buffer *ret, const char *json, size_t size, const char *pointer,
                  const char *value, size_t value_size, struct fault *fault)
{
    struct buffer step;
    int result;

    if (*pointer && *pointer != '/')
        return fault_set(fault, "\"%s\" is no JSON Pointer: one begins with /", pointer);
    if (!size || !json_scan(json, size, NULL, 0, NULL))
        return fault_set(fault, "it is not JSON");
    buffer_init(&step, NAME_MOST);
    result = set_at(ret, json, size, pointer, value, value_size, &step, fault);
    buffer_fini(&step);
    return result;
}

/* ---- spaces ---- */

static void new_line(struct buffer *ret, unsigned depth)
{
    buffer_add(ret, "\n", 1);
    while (depth--)
        buffer_add(ret, "  ", 2);
}

void json_edit_lay_out(struct buffer *ret, const char *json, size_t size)
{
    unsigned depth = 0;

    for (size_t at = skip_space(json, size, 0); at < size; at = skip_space(json, size, at)) {
        char c = json[at];

        if (c == '"') {
            size_t end = skip_string(json, at);

            buffer_add(ret, json + at, end - at);
            at = end;
            continue;
        }
        if (c == '}' || c == ']')
            new_line(ret, --depth);
        buffer_add(ret, &c, 1);
        at++;
        if (c == ',') {
            new_line(ret, depth);
        } else if (c == ':') {
            buffer_add(ret, " ", 1);
        } else if (c == '{' || c == '[') {
            at = skip_space(json, size, at);
            if (json[at] == '}' || json[at] == ']')
                buffer_add(ret, json + at++, 1);
            else
                new_line(ret, ++depth);
        }
    }
}

void json_edit_pack(struct buffer *ret, const char *json, size_t size)
{
    for (size_t at = skip_space(json, size, 0); at < size; at = skip_space(json, size, at)) {
        size_t end = json[at] == '"' ? skip_string(json, at) : at + 1;

        buffer_add(ret, json + at, end - at);
        at = end;
    }
}
