/* SPDX-License-Identifier: MIT
 * The end of `sluice demo`: what came of it, and what to try next. */
#ifndef CLI_DEMO_SUMMARY_H
#define CLI_DEMO_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/demo_files.h"
#include "io/demo_function.h"

struct demo_summary {
    const struct demo_files *files;
    const struct demo_function_status *function;
    unsigned orders;
    const char *const *refused; /* names of the orders that must have died; NULL ends them */
    int64_t took_us;
};

/* Prints it, with the dead letters as they are in the store. Returns whether all is as it must be:
 * exactly the refused orders are dead letters, and all others are done. */
bool demo_summary_print(const struct demo_summary *summary);

#endif
