/* SPDX-License-Identifier: MIT
 * The part of the JSON Schema that is about `filter`: what core/filter_compile.c accepts, but for depths
 * and amounts. */
#ifndef CLI_SCHEMA_FILTER_H
#define CLI_SCHEMA_FILTER_H

#include <jansson.h>

/* What `filter` may be, with references to the definitions. A new reference. */
json_t *schema_filter(void);

/* The definitions, to stand at the top of the schema as its `$defs`. A new reference. */
json_t *schema_filter_definitions(void);

#endif
