/* SPDX-License-Identifier: MIT
 * How much memory this process may use. */
#ifndef IO_MEMORY_LIMIT_H
#define IO_MEMORY_LIMIT_H

#include <stdint.h>

/* Bytes: the least of what the machine has and what limits the control group and those above it
 * (memory.max and memory.high, cgroups(7); memory.limit_in_bytes of version 1). Groups that cannot be
 * looked into limit nothing. `root` comes before /proc and /sys: "" but in tests. */
uint64_t memory_limit_read(const char *root);

#endif
