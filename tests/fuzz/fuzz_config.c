/* SPDX-License-Identifier: MIT
 * Configuration files as trees. */
#include "fuzz.h"

#include "service/config_tree.h"

static size_t count_nodes(const struct node *node, size_t depth)
{
    size_t count = 1;

    MUST(depth <= CONFIG_DEPTH_MAX + 1);
    for (size_t i = 0; (node->kind == NODE_MAP || node->kind == NODE_LIST) && i < node->count; i++) {
        MUST(node->entries[i].value);
        MUST((node->kind == NODE_MAP) == (node->entries[i].name != NULL));
        if (node->kind == NODE_MAP)
            MUST(config_tree_find(node, node->entries[i].name));
        count += count_nodes(node->entries[i].value, depth + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_pool *pool = config_pool_new();
    struct problems problems = {0};
    const struct node *tree = config_tree_parse(pool, "fuzz.yaml", (const char *)data, size, &problems);

    MUST(tree || problems.errors);
    if (tree) {
        MUST(count_nodes(tree, 0) <= CONFIG_NODES_MAX + 1);
        MUST(config_tree_merge(pool, tree, tree, NULL));
    }
    problem_free_all(&problems);
    config_pool_free(pool);
    return 0;
}
