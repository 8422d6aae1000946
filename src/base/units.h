/* SPDX-License-Identifier: MIT
 * Amounts as people write them: `1 MiB`, `200ms`, `6h`, `1..32`. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdint.h>

/* All: 0, or -1 with nothing written where `text` is not exactly such an amount, is negative or
 * overflows. Spaces are allowed between number and unit, fractions before a unit (`1.5s`). */

/* Bytes: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024), none = bytes. */
int units_parse_bytes(const char *text, int64_t *ret_bytes);
/* Microseconds, from us, ms, s, m, h, d. A bare number is refused, but for 0. */
int units_parse_duration(const char *text, int64_t *ret_us);
/* Decimal whole number, optionally negative. */
int units_parse_integer(const char *text, int64_t *ret_number);
/* A number such as `12`, `0.01` or `2e-7`; not negative. */
int units_parse_decimal(const char *text, double *ret_number);

#define UNITS_TEXT 32
/* The shortest exact text, `90s` as `1m 30s` is not: one unit, exact, so 90 s is `90s`. */
const char *units_print_bytes(int64_t bytes, char text[UNITS_TEXT]);
const char *units_print_duration(int64_t us, char text[UNITS_TEXT]);

#endif
