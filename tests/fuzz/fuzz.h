/* SPDX-License-Identifier: MIT
 * A fuzz target: fuzz_NAME.c reads bytes as they may come from outside, and stops the program (abort, a
 * sanitizer) where something is wrong. `make check` runs each over its seeds and some thousand mutations
 * of them; `make fuzz FUZZ=NAME` as long as it may, by libFuzzer. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* `data` ends where it ends: reading past it is seen. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert that stays in all builds. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
