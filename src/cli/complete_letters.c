/* SPDX-License-Identifier: MIT */
#include "cli/complete_letters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define IDS_MOST     50
#define REASON_WIDTH 60

static struct dead_letter_store *open_store(const char *state)
{
    char *directory = state_directory_find(state);
    struct fault fault;
    struct dead_letter_store *store =
        dead_letter_store_sqlite_open(directory, DEAD_LETTER_READ, &fault);

    free(directory);
    return store;
}

static int print_id(void *argument, const struct dead_letter *letter)
{
    (void)argument;
    printf("%s\t%s: ", letter->id, letter->mapping);
    dlq_line(letter->reason, strlen(letter->reason), REASON_WIDTH);
    putchar('\n');
    return 0;
}

void complete_ids(const char *state, const char *prefix)
{
    struct dead_letter_store *store = open_store(state);
    struct fault fault;

    if (!store)
        return;
    store->ops->list(store,
                     &(struct dead_letter_query){.id_prefix = *prefix ? prefix : NULL,
                                                 .limit = IDS_MOST},
                     0, print_id, NULL, &fault);
    store->ops->close(store);
}

static int print_mapping(void *argument, const struct dead_letter_group *group)
{
    (void)argument;
    printf("%s\t%llu dead letter%s\n", group->value, (unsigned long long)group->count,
           group->count == 1 ? "" : "s");
    return 0;
}

void complete_mappings(const char *state)
{
    struct dead_letter_store *store = open_store(state);
    struct fault fault;

    if (!store)
        return;
    store->ops->group(store, &(struct dead_letter_query){.limit = 0}, "mapping", print_mapping, NULL,
                      &fault);
    store->ops->close(store);
}
