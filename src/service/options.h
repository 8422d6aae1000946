/* SPDX-License-Identifier: MIT
 * Values read by a typed table (struct sluice_option): the options of a connector, and just so the
 * keys of a mapping and of sluice.yaml. Everything about a key comes from its line in the table:
 * type, default, range, help, and the messages about mistakes. */
#ifndef SERVICE_OPTIONS_H
#define SERVICE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/option.h>

#include "base/buffer.h"
#include "service/config_tree.h"
#include "service/problem.h"

/* Types of our own keys, beyond those of the connector ABI. */
enum option_type {
    OPTION_INT_RANGE = 100, /* `4` or `1..32` */
    OPTION_DURATION_RANGE,  /* `1s` or `200ms..30s` */
    OPTION_PATH,            /* a relative one counts from the directory of its file */
    OPTION_DECIMAL,         /* `0.01` */
    OPTION_ELSEWHERE        /* a part that other code reads; known here, not looked into */
};

/* Reads `map` (NULL: nothing was written) by `table`. `prefix` goes before names in messages
 * (`source.kafka`, NULL: none), `place` is told where something is missing. Always returns values:
 * with a mistake, of which there is an error then, an option has its default. Nodes are borrowed.
 */
struct sluice_values *options_read(const struct sluice_option *table, const char *prefix,
                                   const struct node *map, struct place place,
                                   struct problems *problems);
/* The same for what only publishes, as a place for dead letters: see SLUICE_OPTION_CONSUME. */
struct sluice_values *options_read_place(const struct sluice_option *table, const char *prefix,
                                         const struct node *map, struct place place,
                                         struct problems *problems);
void options_free(struct sluice_values *values); /* wipes secrets; NULL is fine */

/* What a connector gets; see <sluice/option.h>. */
extern const struct sluice_values_api options_api;

/* Collects what a connector refuses on this thread, from now until the next call; NULL ends it.
 * Returns how many refusals there were since the last call. */
size_t options_collect(struct problems *problems);

/* For the host's own use. As in struct sluice_values_api, with the same rules. */
bool options_is_set(const struct sluice_values *values, const char *name);
const char *options_text(const struct sluice_values *values, const char *name);
int64_t options_number(const struct sluice_values *values, const char *name);
size_t options_count(const struct sluice_values *values, const char *name);
const char *options_item(const struct sluice_values *values, const char *name, size_t index,
                         const char **ret_map_value);
/* DECIMAL; 0 where unset. */
double options_decimal(const struct sluice_values *values, const char *name);
/* The upper end of a range. */
int64_t options_most(const struct sluice_values *values, const char *name);
/* ENUM: which of the choices. */
int options_choice(const struct sluice_values *values, const char *name);
/* Whether it stands in a file (true) or is a default. */
bool options_is_written(const struct sluice_values *values, const char *name);
/* Whether it was written with a mistake: then rules about it need not be tried. */
bool options_is_wrong(const struct sluice_values *values, const char *name);
/* Where it stands; where it would stand if it is not written. */
struct place options_place(const struct sluice_values *values, const char *name);
/* What stands there, NULL if it is not written. */
const struct node *options_node(const struct sluice_values *values, const char *name);
const struct sluice_option *options_table(const struct sluice_values *values);

/* Whether the table has the name (as a connector's `group`). */
bool options_known(const struct sluice_values *values, const char *name);

/* Appends the value as a user would write it; secrets, and values of maps that stand elsewhere, as
 * `(secret)`. "" where unset. */
void options_print(const struct sluice_values *values, const char *name, struct buffer *buffer);
/* Appends one line for each option that is set, in the order of the table, secrets left out: equal
 * texts mean equal settings. */
void options_print_all(const struct sluice_values *values, struct buffer *buffer);

/* Gives all that the values consist of to `add`, piece by piece, secrets and the contents of files
 * too: to be hashed, so that a change of any of it is noticed. Files count by their first 1 MiB. */
typedef void (*identity_fn)(void *argument, const void *data, size_t size);
void options_identify(const struct sluice_values *values, identity_fn add, void *argument);

/* ---- about a table, for listings ---- */

/* `duration`. */
const char *options_type_name(uint32_t type);
/* Appends what is accepted: `a duration from 0s to 5m`. */
void options_print_expected(const struct sluice_option *option, struct buffer *buffer);

#endif
