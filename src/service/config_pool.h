/* SPDX-License-Identifier: MIT
 * Memory that is freed together: what the trees of configuration files are made of. */
#ifndef SERVICE_CONFIG_POOL_H
#define SERVICE_CONFIG_POOL_H

#include <stddef.h>

struct config_pool;

struct config_pool *config_pool_new(void);
/* Wipes and frees all that was taken. NULL is fine. */
void config_pool_free(struct config_pool *pool);
/* A copy of `data` that lives as long as the pool. */
void *config_pool_take(struct config_pool *pool, const void *data, size_t size);
const char *config_pool_text(struct config_pool *pool, const char *text);

#endif
