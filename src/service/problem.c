/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static char *print_place(struct place place)
{
    if (!place.file)
        return memory_text("");
    if (!place.line)
        return memory_text(place.file);
    return memory_format("%s:%u:%u", place.file, place.line, place.column);
}

/* Takes over `text`. */
static void add(struct problems *problems, struct place where, char *text, bool warning)
{
    char *place = print_place(where);
    size_t i;

    for (i = 0; i < problems->count; i++)
        if (strcmp(problems->items[i].place, place) == 0 &&
            strcmp(problems->items[i].text, text) == 0)
            break;
    if (i == problems->count) {
        if (warning)
            problems->warnings++;
        else
            problems->errors++;
    }
    if (i < problems->count || problems->count == PROBLEMS_MAX) {
        free(place);
        free(text);
        return;
    }
    problems->items = memory_resize(problems->items, problems->count + 1, sizeof *problems->items);
    problems->items[problems->count++] = (struct problem){place, text, warning};
}

__attribute__((format(printf, 1, 0))) static char *format_text(const char *format,
                                                               va_list arguments)
{
    char *text;

    if (vasprintf(&text, format, arguments) < 0)
        text = memory_text(format);
    return text;
}

void problem_add(struct problems *problems, struct place place, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(problems, place, format_text(format, arguments), false);
    va_end(arguments);
}

void problem_warn(struct problems *problems, struct place place, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(problems, place, format_text(format, arguments), true);
    va_end(arguments);
}

/* `file:2:1` before `file:10:1`. */
static int compare(const void *left, const void *right)
{
    const struct problem *a = left, *b = right;

    return strverscmp(a->place, b->place);
}

void problem_sort(struct problems *problems)
{
    if (problems->count)
        qsort(problems->items, problems->count, sizeof *problems->items, compare);
}

void problem_free_all(struct problems *problems)
{
    size_t i;

    for (i = 0; i < problems->count; i++) {
        free(problems->items[i].place);
        free(problems->items[i].text);
    }
    free(problems->items);
    *problems = (struct problems){0};
}
