/* SPDX-License-Identifier: MIT
 * What is wrong with a configuration: all mistakes of one run, each with its place. */
#ifndef SERVICE_PROBLEM_H
#define SERVICE_PROBLEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where something stands. `file` is borrowed and outlives the place; line and column count from 1,
 * 0: the file as a whole. */
struct place {
    const char *file;
    uint32_t line, column;
};

struct problem {
    char *place; /* `mappings.d/orders.yaml:12:9`, a path, or "" */
    char *text;  /* `batch.window: found "5 parsecs", expected a duration such as 200ms` */
    bool warning;
};

#define PROBLEMS_MAX 200 /* more are counted, not kept */

struct problems {
    struct problem *items;
    size_t count;
    size_t errors, warnings; /* of all, also those not kept */
};

/* Adds one, unless the same is there already. */
void problem_add(struct problems *problems, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problem_warn(struct problems *problems, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sorts by file, line and column. */
void problem_sort(struct problems *problems);
/* Frees what is in it and empties it. */
void problem_free_all(struct problems *problems);

#endif
