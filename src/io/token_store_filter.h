/* SPDX-License-Identifier: MIT
 * Whether a key may be in a bucket of the token store: a split block Bloom filter (as in Apache
 * Parquet, "Bloom Filter") that grows by further segments. One thread adds, any thread asks. */
#ifndef IO_TOKEN_STORE_FILTER_H
#define IO_TOKEN_STORE_FILTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What all filters of a store may take together. At the bound a filter no longer grows: it says
 * "maybe" more often, and never wrongly "no". */
struct token_store_filter_budget {
    size_t used;
    size_t most;
};

struct token_store_filter;

/* Room for `expected` keys before it grows. */
struct token_store_filter *token_store_filter_new(size_t expected,
                                                  struct token_store_filter_budget *budget);
/* Nobody may be asking any more. */
void token_store_filter_free(struct token_store_filter *filter);
void token_store_filter_add(struct token_store_filter *filter, uint64_t hash);
/* False: surely not added before. */
bool token_store_filter_maybe(const struct token_store_filter *filter, uint64_t hash);
size_t token_store_filter_count(const struct token_store_filter *filter);

#endif
