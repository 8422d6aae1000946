/* SPDX-License-Identifier: MIT
 * Runs test cases side by side, each in a process of its own: what takes seconds is a server's
 * delays, not work, and a case that crashes takes no other with it. */
#ifndef RUNNER_H
#define RUNNER_H

#include <stddef.h>

struct contract_case {
    const char *name;
    void (*run)(void **state);
    int (*begin)(void **state); /* before it, with `argument` as state; may be NULL */
    const void *argument;
};

/* All cases, or with arguments those of these names, one after the other in this process. Returns
 * what main shall return. */
int runner_main(int argc, char **argv, const struct contract_case *cases, size_t count);

#endif
