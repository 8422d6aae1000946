/* SPDX-License-Identifier: MIT
 * Tables of options, of connectors and our own, as a listing. */
#ifndef CLI_OPTION_LISTING_H
#define CLI_OPTION_LISTING_H

#include <jansson.h>

#include <sluice/option.h>

/* Prints the options to stdout; `group`: only this one and what is in it (`retry`), NULL: all.
 * Returns how many. */
unsigned option_listing_print(const struct sluice_option *table, const char *group);

/* An array with an object for each option. */
json_t *option_listing_json(const struct sluice_option *table);

#endif
