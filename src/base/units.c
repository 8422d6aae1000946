/* SPDX-License-Identifier: MIT */
#include "base/units.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct unit {
    const char *name;
    int64_t size;
};

/* Largest first, so that printing finds the largest that divides. */
static const struct unit byte_units[] = {
    {"TiB", INT64_C(1) << 40},
    {"TB", INT64_C(1000000000000)},
    {"GiB", INT64_C(1) << 30},
    {"GB", INT64_C(1000000000)},
    {"MiB", INT64_C(1) << 20},
    {"MB", INT64_C(1000000)},
    {"KiB", INT64_C(1) << 10},
    {"kB", INT64_C(1000)},
    {"B", 1},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"d", CLOCK_DAY}, {"h", CLOCK_HOUR}, {"m", CLOCK_MINUTE}, {"s", CLOCK_SECOND},
    {"ms", CLOCK_MS}, {"us", 1},         {NULL, 0},
};

/* A decimal number: whole part, and fraction as `fraction / fraction_scale`. */
struct decimal {
    int64_t whole;
    int64_t fraction;
    int64_t fraction_scale; /* 1: no point was written */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *parse_digits(const char *text, int64_t *number)
{
    if (!is_digit(*text))
        return NULL;
    for (*number = 0; is_digit(*text); text++)
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, *text - '0', number))
            return NULL;
    return text;
}

static const char *parse_decimal(const char *text, struct decimal *decimal)
{
    const char *end = parse_digits(text, &decimal->whole);

    decimal->fraction = 0;
    decimal->fraction_scale = 1;
    if (!end || *end != '.')
        return end;
    text = end + 1;
    end = parse_digits(text, &decimal->fraction);
    if (!end || end - text > 9)
        return NULL;
    for (; text < end; text++)
        decimal->fraction_scale *= 10;
    return end;
}

static int apply_unit(const struct decimal *decimal, int64_t unit, int64_t *ret_amount)
{
    int64_t whole, fraction;

    if (__builtin_mul_overflow(decimal->whole, unit, &whole) ||
        __builtin_mul_overflow(decimal->fraction, unit, &fraction) ||
        fraction % decimal->fraction_scale != 0 ||
        __builtin_add_overflow(whole, fraction / decimal->fraction_scale, &whole))
        return -1;
    *ret_amount = whole;
    return 0;
}

/* `bare`: what a number without a unit counts in; 0: only a 0 may stand alone. */
static int parse_amount(const char *text, const struct unit *units, int64_t bare,
                        int64_t *ret_amount)
{
    struct decimal decimal;

    text = parse_decimal(text, &decimal);
    if (!text)
        return -1;
    if (!*text) {
        if (decimal.fraction_scale != 1 || (!bare && decimal.whole))
            return -1;
        *ret_amount = decimal.whole;
        return 0;
    }
    while (*text == ' ')
        text++;
    for (; units->name; units++)
        if (strcmp(text, units->name) == 0)
            return apply_unit(&decimal, units->size, ret_amount);
    return -1;
}

int units_parse_bytes(const char *text, int64_t *ret_bytes)
{
    return parse_amount(text, byte_units, 1, ret_bytes);
}

int units_parse_duration(const char *text, int64_t *ret_us)
{
    return parse_amount(text, duration_units, 0, ret_us);
}

int units_parse_integer(const char *text, int64_t *ret_number)
{
    int64_t number = 0;
    bool negative = *text == '-';

    if (negative)
        text++;
    if (!is_digit(*text))
        return -1;
    for (; is_digit(*text); text++) {
        int digit = *text - '0';

        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number))
            return -1;
    }
    if (*text)
        return -1;
    *ret_number = number;
    return 0;
}

int units_parse_decimal(const char *text, double *ret_number)
{
    double number;
    char *end;

    /* strtod takes more: signs, spaces, hexadecimal, nan; its point is that of the C locale here. */
    if (!is_digit(*text) || text[strspn(text, "0123456789.eE+-")])
        return -1;
    number = strtod(text, &end);
    if (*end || end[-1] == '.' || number > 1e300)
        return -1;
    *ret_number = number;
    return 0;
}

const char *units_print_bytes(int64_t bytes, char text[UNITS_TEXT])
{
    const struct unit *unit, *best = NULL;

    for (unit = byte_units; unit->name; unit++)
        if (bytes == 0 ? unit->size == 1 : bytes % unit->size == 0) {
            char candidate[UNITS_TEXT];
            int length = snprintf(candidate, sizeof candidate, "%" PRId64 " %s", bytes / unit->size,
                                  unit->name);

            if (!best || (size_t)length < strlen(text))
                memcpy(text, candidate, sizeof candidate);
            best = unit;
        }
    return text;
}

const char *units_print_duration(int64_t us, char text[UNITS_TEXT])
{
    const struct unit *unit = duration_units;

    if (us == 0) {
        memcpy(text, "0s", sizeof "0s");
        return text;
    }
    while (us % unit->size != 0)
        unit++;
    snprintf(text, UNITS_TEXT, "%" PRId64 "%s", us / unit->size, unit->name);
    return text;
}
