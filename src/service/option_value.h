/* SPDX-License-Identifier: MIT
 * One value of a typed option: from a node of the file, or from the text of a default. */
#ifndef SERVICE_OPTION_VALUE_H
#define SERVICE_OPTION_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/option.h>

#include "service/config_tree.h"
#include "service/problem.h"

struct option_value {
    const struct node *node; /* NULL: not written */
    bool set;                /* written well, or there is a default */
    bool wrong;              /* written with a mistake */
    char *text;              /* STRING, ENUM, SECRET, PATH */
    int64_t number, most;    /* numbers; `most` is the upper end of a range, else equal */
    size_t count;            /* LIST, MAP */
    char **items;            /* LIST: the items, MAP: the keys */
    char **map_values;
    bool *referred; /* MAP: whether the value stands elsewhere, so is likely a secret */
};

/* Reads a written value; mistakes are added with `path` before them, and `value->wrong` is set. */
void option_value_read(const struct sluice_option *option, const char *path,
                       const struct node *node, struct option_value *value,
                       struct problems *problems);
/* Sets the default, if the option has one; false where the default does not fit its own table. */
bool option_value_default(const struct sluice_option *option, struct option_value *value);
void option_value_fini(struct option_value *value);

/* "5 parsecs", a list, a map, nothing: what stands there, shortened, without control characters.
 * Valid until the next call on this thread. */
const char *option_value_found(const struct node *node);

#endif
