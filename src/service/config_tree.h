/* SPDX-License-Identifier: MIT
 * A configuration file as a tree of nodes that know their place. YAML 1.2 (so JSON too), read by
 * libyaml; a scalar keeps its text as written, and what it means is decided by who reads it, so
 * that `on`, `no` and `1_000` are the texts they look like. */
#ifndef SERVICE_CONFIG_TREE_H
#define SERVICE_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "service/config_pool.h"
#include "service/problem.h"

enum node_kind { NODE_NULL, NODE_TEXT, NODE_LIST, NODE_MAP };

/* A value that stands elsewhere: `!credential NAME`, `!env NAME`, `!file PATH`. */
enum node_reference { REFERENCE_NONE, REFERENCE_CREDENTIAL, REFERENCE_ENV, REFERENCE_FILE };

struct node_entry {
    const char *name; /* MAP only */
    struct place place;
    const struct node *value;
};

struct node {
    enum node_kind kind;
    enum node_reference reference; /* TEXT only; `text` is its argument */
    bool quoted;                   /* TEXT: in quotes or a block, so never a number or true */
    struct place place;
    const char *text;
    const struct node_entry *entries; /* LIST, MAP */
    size_t count;
    size_t weight; /* nodes below and with this one, aliases written out */
};

#define CONFIG_FILE_MAX  ((size_t)256 * 1024)
#define CONFIG_DEPTH_MAX 32
#define CONFIG_NODES_MAX 20000

/* Reads a file, or a text of that name, into nodes that belong to the pool, are read-only and may
 * be shared. NULL with an error added: unreadable, too large, not YAML, more than one document,
 * doubled or complex keys, unknown tags. An empty file is a NODE_NULL. */
const struct node *config_tree_read(struct config_pool *pool, const char *path,
                                    struct problems *problems);
const struct node *config_tree_parse(struct config_pool *pool, const char *name, const char *text,
                                     size_t size, struct problems *problems);

/* The entry's value, NULL where absent. `map` may be NULL or no map. */
const struct node *config_tree_find(const struct node *map, const char *name);

/* `over` laid over `base`: maps are merged key by key, everything else is replaced whole, and a
 * null takes the key away. Either may be NULL. `whole`: NULL-terminated names of maps that are
 * replaced whole too, or NULL. */
const struct node *config_tree_merge(struct config_pool *pool, const struct node *base,
                                     const struct node *over, const char *const *whole);

#endif
