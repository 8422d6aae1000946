/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/option_identity.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

#define FILE_MOST ((size_t)1024 * 1024)

/* With its size before it, so that no two lists of parts look alike. */
static void add_part(const void *data, size_t size, identity_fn add, void *argument)
{
    add(argument, &size, sizeof size);
    add(argument, data, size);
}

static void add_text(const char *text, identity_fn add, void *argument)
{
    add_part(text, strlen(text), add, argument);
}

static void add_file(const char *path, identity_fn add, void *argument)
{
    char *room = memory_new(FILE_MOST);
    ssize_t size = file_read(path, room, FILE_MOST);

    if (size >= 0)
        add_part(room, (size_t)size, add, argument);
    explicit_bzero(room, FILE_MOST);
    free(room);
}

void option_identify(const struct sluice_option *option, const struct option_value *value,
                     identity_fn add, void *argument)
{
    add_text(option->name, add, argument);
    if (value->text)
        add_text(value->text, add, argument);
    if (value->text && (option->type == OPTION_PATH || option->flags & SLUICE_OPTION_FILE))
        add_file(value->text, add, argument);
    add(argument, &value->number, sizeof value->number);
    add(argument, &value->most, sizeof value->most);
    for (size_t i = 0; i < value->count; i++) {
        add_text(value->items[i], add, argument);
        if (value->map_values)
            add_text(value->map_values[i], add, argument);
    }
}
