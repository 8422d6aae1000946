/* SPDX-License-Identifier: MIT
 * Allocation that does not fail: everything that sluice allocates is bounded by configuration, so
 * running out means that the machine is out of memory. Dying then loses nothing (nothing unsettled
 * is lost, by the promise) and is better than limping. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* As malloc, calloc, realloc, strdup, strndup; abort with a message instead of returning NULL. */
void *memory_new(size_t size) __attribute__((malloc, returns_nonnull));
void *memory_zero(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *memory_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
char *memory_text(const char *text) __attribute__((malloc, returns_nonnull, nonnull));
char *memory_text_n(const char *text, size_t size) __attribute__((malloc, returns_nonnull));
char *memory_format(const char *format, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

#endif
