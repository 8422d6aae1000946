/* SPDX-License-Identifier: MIT
 * What went wrong, as one text for people: the place, what was found, what was expected, the cure. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdarg.h>

struct fault {
    char text[512]; /* truncated with "..." if longer; never holds a secret */
};

/* Sets the text and returns -1, so that callers can write `return fault_set(...)`. `fault` may be
 * NULL. */
int fault_set(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the text that is there. Returns -1. */
int fault_prefix(struct fault *fault, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
