/* SPDX-License-Identifier: MIT */
#include "core/pointer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/json_text.h"
#include "base/memory.h"

struct pointer {
    char *names; /* all steps' names, decoded */
    size_t count;
    struct json_scan_step steps[JSON_SCAN_STEPS];
};

/* `0`, or digits without a leading zero; else, or where it is too large for any payload, -1. */
static int64_t array_index(const char *name, size_t size)
{
    int64_t index = 0;

    if (!size || size > 15 || (*name == '0' && size > 1))
        return -1;
    for (size_t i = 0; i < size; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        index = index * 10 + (name[i] - '0');
    }
    return index;
}

struct pointer *pointer_compile(const char *text, struct fault *fault)
{
    struct pointer *pointer;
    char *out;

    if (!json_text_is_utf8(text, strlen(text))) {
        fault_set(fault, "JSON Pointer: not valid UTF-8");
        return NULL;
    }
    if (*text && *text != '/') {
        fault_set(fault, "JSON Pointer `%s`: expected a `/` at the start, as in `/%s`", text, text);
        return NULL;
    }
    pointer = memory_zero(1, sizeof *pointer);
    pointer->names = out = memory_new(strlen(text) + 1);
    for (const char *at = text; *at;) {
        struct json_scan_step *step = &pointer->steps[pointer->count];

        if (pointer->count++ == JSON_SCAN_STEPS) {
            fault_set(fault, "JSON Pointer `%s`: more than %d steps", text, JSON_SCAN_STEPS);
            goto failed;
        }
        step->name = out;
        for (at++; *at && *at != '/'; at++) {
            if (*at == '~' && at[1] != '0' && at[1] != '1') {
                fault_set(fault,
                          "JSON Pointer `%s`: expected `~0` (for ~) or `~1` (for /) where a "
                          "`~` is",
                          text);
                goto failed;
            }
            *out++ = *at != '~' ? *at : *++at == '0' ? '~' : '/';
        }
        step->name_size = (size_t)(out - step->name);
        step->index = array_index(step->name, step->name_size);
    }
    return pointer;
failed:
    pointer_free(pointer);
    return NULL;
}

void pointer_free(struct pointer *pointer)
{
    if (!pointer)
        return;
    free(pointer->names);
    free(pointer);
}

int pointer_find(const struct pointer *pointer, const void *json, size_t size,
                 struct buffer *ret_token)
{
    struct json_scan_value value;

    if (!json_scan(json, size, pointer->steps, pointer->count, &value))
        return -1;
    switch (value.kind) {
    case JSON_SCAN_STRING:
        json_scan_unescape(ret_token, &value);
        return value.size > 0;
    case JSON_SCAN_NUMBER:
        buffer_add(ret_token, value.text, value.size);
        return 1;
    case JSON_SCAN_TRUE:
        buffer_add_text(ret_token, "true");
        return 1;
    case JSON_SCAN_FALSE:
        buffer_add_text(ret_token, "false");
        return 1;
    case JSON_SCAN_ABSENT:
    case JSON_SCAN_NULL:
    case JSON_SCAN_OBJECT:
    case JSON_SCAN_ARRAY:
        break;
    }
    return 0;
}
