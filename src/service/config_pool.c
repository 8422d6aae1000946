/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/config_pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct block {
    struct block *next;
    size_t size;
    max_align_t data[];
};

struct config_pool {
    struct block *blocks;
};

struct config_pool *config_pool_new(void)
{
    return memory_zero(1, sizeof(struct config_pool));
}

void config_pool_free(struct config_pool *pool)
{
    struct block *block;

    if (!pool)
        return;
    while ((block = pool->blocks)) {
        pool->blocks = block->next;
        explicit_bzero(block->data, block->size);
        free(block);
    }
    free(pool);
}

void *config_pool_take(struct config_pool *pool, const void *data, size_t size)
{
    struct block *block = memory_new(sizeof *block + size);

    block->next = pool->blocks;
    block->size = size;
    pool->blocks = block;
    if (size)
        memcpy(block->data, data, size);
    return block->data;
}

const char *config_pool_text(struct config_pool *pool, const char *text)
{
    return config_pool_take(pool, text, strlen(text) + 1);
}
