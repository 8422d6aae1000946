/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/option_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/units.h"
#include "service/options.h"
#include "service/secret.h"

#define FOUND_MAX 48 /* bytes of a value that a message quotes */

const char *option_value_found(const struct node *node)
{
    static _Thread_local char found[2 * FOUND_MAX + 300];
    const char *text = node->text;
    size_t i, at = 0;

    switch (node->kind) {
    case NODE_NULL:
        return "nothing";
    case NODE_LIST:
        return "a list";
    case NODE_MAP:
        return "a map";
    default:
        break;
    }
    if (node->reference != REFERENCE_NONE) {
        snprintf(found, sizeof found, "the value of %s", secret_name(node));
        return found;
    }
    found[at++] = '"';
    for (i = 0; text[i] && i < FOUND_MAX; i++)
        found[at++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    if (text[i]) {
        while (at > 1 && ((unsigned char)found[at - 1] & 0xc0) == 0x80)
            at--; /* no half of a UTF-8 character, */
        if ((unsigned char)found[at - 1] >= 0xc0)
            at--; /* nor its first byte alone */
        memcpy(found + at, "...", 3);
        at += 3;
    }
    found[at++] = '"';
    found[at] = '\0';
    return found;
}

/* ---- texts to numbers ---- */

static int parse_number(uint32_t type, const char *text, int64_t *number)
{
    switch (type) {
    case SLUICE_BYTES:
        return units_parse_bytes(text, number);
    case SLUICE_DURATION:
    case OPTION_DURATION_RANGE:
        return units_parse_duration(text, number);
    default:
        return units_parse_integer(text, number);
    }
}

static int parse_range(uint32_t type, const char *text, struct option_value *value)
{
    const char *dots = strstr(text, "..");
    char *first;
    int result;

    if (!dots) {
        result = parse_number(type, text, &value->number);
        value->most = value->number;
        return result;
    }
    first = memory_text_n(text, (size_t)(dots - text));
    result = parse_number(type, first, &value->number);
    free(first);
    return result || parse_number(type, dots + 2, &value->most) ? -1 : 0;
}

static int parse_bool(const char *text, int64_t *number)
{
    *number = strcmp(text, "true") == 0 || strcmp(text, "True") == 0 || strcmp(text, "TRUE") == 0;
    return *number || strcmp(text, "false") == 0 || strcmp(text, "False") == 0 ||
                   strcmp(text, "FALSE") == 0
               ? 0
               : -1;
}

static int parse_choice(const struct sluice_option *option, const char *text, int64_t *number)
{
    for (*number = 0; option->choices[*number]; ++*number)
        if (strcmp(option->choices[*number], text) == 0)
            return 0;
    return -1;
}

static int parse_decimal(const struct sluice_option *option, const char *text,
                         struct option_value *value)
{
    double number;

    if (units_parse_decimal(text, &number) || number < (double)option->minimum ||
        number > (double)option->maximum)
        return -1;
    value->text = memory_text(text);
    return 0;
}

static bool in_range(const struct sluice_option *option, int64_t number)
{
    return (!option->minimum && !option->maximum) ||
           (number >= option->minimum && number <= option->maximum);
}

/* Turns a single text into the value. 0, or -1 where it is not what the option wants. */
static int set_text(const struct sluice_option *option, const char *text,
                    struct option_value *value)
{
    int result = 0;

    switch (option->type) {
    case SLUICE_INT:
    case SLUICE_BYTES:
    case SLUICE_DURATION:
        if (option->choices && strcmp(text, option->choices[0]) == 0) {
            value->number = value->most = 0;
            return 0;
        }
        result = parse_number(option->type, text, &value->number);
        value->most = value->number;
        break;
    case OPTION_INT_RANGE:
    case OPTION_DURATION_RANGE:
        result = parse_range(option->type, text, value);
        if (result == 0 && value->number > value->most)
            result = -1;
        break;
    case OPTION_DECIMAL:
        return parse_decimal(option, text, value);
    case SLUICE_BOOL:
        return parse_bool(text, &value->number);
    case SLUICE_ENUM:
        result = parse_choice(option, text, &value->number);
        if (result == 0)
            value->text = memory_text(text);
        return result;
    case SLUICE_LIST:
        value->items = memory_zero(1, sizeof *value->items);
        value->items[value->count++] = memory_text(text);
        return 0;
    default:
        if (!*text && (option->flags & SLUICE_OPTION_REQUIRED))
            return -1;
        value->text = memory_text(text);
        return 0;
    }
    return result == 0 && in_range(option, value->number) && in_range(option, value->most) ? 0 : -1;
}

/* ---- nodes to values ---- */

static void complain(const struct sluice_option *option, const char *path, const struct node *node,
                     struct problems *problems)
{
    struct buffer expected;
    const char *found = option_value_found(node);
    const char *in_quotes = "";

    if (node->kind == NODE_TEXT && node->quoted && node->reference == REFERENCE_NONE &&
        (option->type == SLUICE_INT || option->type == SLUICE_BOOL))
        in_quotes = " in quotes";
    buffer_init(&expected, 4096);
    options_print_expected(option, &expected);
    problem_add(problems, node->place, "%s: found %s%s, expected %s", path, found, in_quotes,
                buffer_text(&expected));
    buffer_fini(&expected);
}

/* The text of a scalar, wherever it stands; NULL with an error added. */
static char *read_scalar(const char *path, const struct node *node, struct problems *problems)
{
    struct fault fault;
    char *text = secret_read(node, &fault);

    if (!text)
        problem_add(problems, node->place, "%s: %s", path, fault.text);
    return text;
}

static bool read_list(const struct sluice_option *option, const char *path, const struct node *node,
                      struct option_value *value, struct problems *problems)
{
    size_t i;

    value->items = memory_zero(node->count, sizeof *value->items);
    for (i = 0; i < node->count; i++) {
        const struct node *item = node->entries[i].value;

        if (item->kind != NODE_TEXT) {
            problem_add(problems, item->place, "%s: found %s in the list, expected text", path,
                        option_value_found(item));
            return false;
        }
        value->items[value->count] = read_scalar(path, item, problems);
        if (!value->items[value->count++])
            return false;
    }
    if (!node->count && (option->flags & SLUICE_OPTION_REQUIRED)) {
        problem_add(problems, node->place, "%s: found an empty list, expected at least one item",
                    path);
        return false;
    }
    return true;
}

static bool read_map(const char *path, const struct node *node, struct option_value *value,
                     struct problems *problems)
{
    size_t i;

    value->items = memory_zero(node->count, sizeof *value->items);
    value->map_values = memory_zero(node->count, sizeof *value->map_values);
    value->referred = memory_zero(node->count, sizeof *value->referred);
    for (i = 0; i < node->count; i++) {
        const struct node_entry *entry = &node->entries[i];
        char *text;

        if (entry->value->kind == NODE_NULL)
            continue; /* taken away again */
        if (entry->value->kind != NODE_TEXT) {
            problem_add(problems, entry->value->place, "%s.%s: found %s, expected text", path,
                        entry->name, option_value_found(entry->value));
            return false;
        }
        text = read_scalar(path, entry->value, problems);
        if (!text)
            return false;
        value->items[value->count] = memory_text(entry->name);
        value->referred[value->count] = entry->value->reference != REFERENCE_NONE;
        value->map_values[value->count++] = text;
    }
    return true;
}

static bool read_text(const struct sluice_option *option, const char *path, const struct node *node,
                      struct option_value *value, struct problems *problems)
{
    bool unquoted_only = option->type == SLUICE_INT || option->type == SLUICE_BOOL;
    char *text = read_scalar(path, node, problems);
    int result;

    if (!text)
        return false;
    if (option->type == OPTION_PATH) {
        char *whole = secret_path_beside(node->place.file, text);

        free(text);
        text = whole;
    }
    result = unquoted_only && node->quoted && node->reference == REFERENCE_NONE
                 ? -1
                 : set_text(option, text, value);
    secret_free(text);
    if (result) {
        complain(option, path, node, problems);
        return false;
    }
    if (option->type == SLUICE_SECRET && node->reference == REFERENCE_NONE)
        problem_warn(problems, node->place,
                     "%s: a secret stands in the file itself; better !credential NAME, !file PATH "
                     "or !env NAME",
                     path);
    return true;
}

void option_value_read(const struct sluice_option *option, const char *path,
                       const struct node *node, struct option_value *value,
                       struct problems *problems)
{
    bool good;

    if (node->kind == NODE_NULL)
        return;
    value->node = node;
    if (option->type == OPTION_ELSEWHERE)
        good = true;
    else if (option->type == SLUICE_MAP && node->kind == NODE_MAP)
        good = read_map(path, node, value, problems);
    else if (option->type == SLUICE_LIST && node->kind == NODE_LIST)
        good = read_list(option, path, node, value, problems);
    else if (option->type != SLUICE_MAP && node->kind == NODE_TEXT)
        good = read_text(option, path, node, value, problems);
    else {
        complain(option, path, node, problems);
        good = false;
    }
    value->set = good;
    if (!good) {
        option_value_fini(value);
        *value = (struct option_value){.node = node, .wrong = true};
    }
}

bool option_value_default(const struct sluice_option *option, struct option_value *value)
{
    if (!option->default_text || option->type == OPTION_ELSEWHERE || option->type == SLUICE_MAP)
        return !option->default_text;
    value->set = set_text(option, option->default_text, value) == 0;
    return value->set;
}

void option_value_fini(struct option_value *value)
{
    size_t i;

    secret_free(value->text);
    for (i = 0; i < value->count; i++) {
        free(value->items[i]);
        if (value->map_values)
            secret_free(value->map_values[i]);
    }
    free(value->items);
    free(value->map_values);
    free(value->referred);
}
