/* SPDX-License-Identifier: MIT
 * The typed table by which a connector declares its options, and the way to read their values.
 * Parsing, defaults, ranges, the error messages with file and line, `sluice connectors NAME` and
 * the manual all come from this table. */
#ifndef SLUICE_OPTION_H
#define SLUICE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sluice_option_type {
    SLUICE_STRING = 1, /* text */
    SLUICE_INT,        /* whole number within minimum..maximum */
    SLUICE_BOOL,       /* true or false */
    SLUICE_BYTES,      /* an amount of bytes: `16 MiB`, `4096` */
    SLUICE_DURATION,   /* a length of time: `200ms`, `6h`; read in microseconds */
    SLUICE_ENUM,       /* one of `choices` */
    SLUICE_SECRET,     /* text that appears in no log, error or listing; by reference in samples */
    SLUICE_LIST,       /* list of strings; a single string is a list of one */
    SLUICE_MAP         /* free map of string to string */
};

#define SLUICE_OPTION_REQUIRED 1u /* a mapping without it is refused */
#define SLUICE_OPTION_ADVANCED 2u /* left out of short listings */
#define SLUICE_OPTION_SERVERS  4u /* STRING or LIST that says where the source is (no secrets in it);
                                     functions are told, where their event has a place for it */
#define SLUICE_OPTION_FILE     8u /* STRING: names a file; a reload restarts the mapping when it changed */
/* Since 1.1, where messages are only published to, as to a place for dead letters (`open_publisher`):
 * with CONSUME alone an option is refused there, with PUBLISH alone it is refused everywhere else; one
 * with CONSUME, also beside PUBLISH, is not required there. */
#define SLUICE_OPTION_CONSUME 16u
#define SLUICE_OPTION_PUBLISH 32u

/* One option. The table and all it points to are static. */
struct sluice_option {
    const char *name;           /* as written in a mapping; a dot means nesting: `sasl.username` */
    uint32_t type;              /* enum sluice_option_type */
    uint32_t flags;             /* SLUICE_OPTION_* */
    const char *default_text;   /* as a user would write it; NULL: unset */
    int64_t minimum, maximum;   /* INT, BYTES, DURATION (microseconds); both 0: no limit */
    const char *const *choices; /* ENUM: NULL-terminated. DURATION: the first is a word for 0,
                                   whatever the minimum is. Else NULL */
    const char *help;           /* one sentence, starting with a capital, ending with a period */
};

/* The values of one mapping's options, held by the host; valid until the connector's `close`. */
struct sluice_values;

/* Reading values. Asking for a name that is not in the table, or with another type's function, is
 * a programming error and aborts. All may be called from `open` on, on the instance's thread. */
struct sluice_values_api {
    uint32_t struct_size;
    /* Whether the user wrote the option, or it has a default. */
    bool (*is_set)(const struct sluice_values *values, const char *name);
    /* STRING, ENUM, SECRET. NULL where unset. */
    const char *(*text)(const struct sluice_values *values, const char *name);
    /* INT, BYTES, DURATION (microseconds); BOOL as 0 or 1. 0 where unset. */
    int64_t (*number)(const struct sluice_values *values, const char *name);
    /* LIST: how many, and one of them. MAP: how many, and one key and value. */
    size_t (*count)(const struct sluice_values *values, const char *name);
    const char *(*item)(const struct sluice_values *values, const char *name, size_t index,
                        const char **ret_map_value);
    /* Refuses the mapping because of this option: `reason` says what was found, what was expected
     * and the cure, and the host puts file, line and column before it. `name` may be
     * `properties.some.key` to name one entry of a MAP. Only within `open`; may be called more than
     * once; `open` then returns non-zero. */
    void (*refuse)(const struct sluice_values *values, const char *name, const char *reason);
};

#ifdef __cplusplus
}
#endif
#endif
