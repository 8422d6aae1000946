/* SPDX-License-Identifier: MIT */
#include "service/parked_left.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

struct looking {
    char **names; /* of the mappings that there are */
    size_t count;
    park_look_fn look;
    void *argument;
};

static void note_name(void *argument, const struct supervisor_view *view)
{
    struct looking *looking = argument;

    looking->names = memory_resize(looking->names, looking->count + 1, sizeof *looking->names);
    looking->names[looking->count++] = memory_text(view->mapping->name);
}

static void look_if_left(void *argument, const char *mapping, const struct lot_state *state)
{
    const struct looking *looking = argument;

    for (size_t i = 0; i < looking->count; i++)
        if (strcmp(looking->names[i], mapping) == 0)
            return;
    looking->look(looking->argument, mapping, state);
}

void parked_left_look(struct supervisor *supervisor, park_look_fn look, void *argument)
{
    struct looking looking = {.look = look, .argument = argument};

    supervisor_look(supervisor, note_name, &looking);
    park_look(supervisor_park(supervisor), look_if_left, &looking);
    for (size_t i = 0; i < looking.count; i++)
        free(looking.names[i]);
    free(looking.names);
}

static void tell(void *argument, const char *mapping, const struct lot_state *state)
{
    (void)argument;
    log_event(LOG_WARNING, "parked_without_mapping", LOG_TEXT("mapping", mapping),
              LOG_NUMBER("messages", (int64_t)state->count),
              LOG_TEXT("effect", "they stay parked until there is a mapping of that name"));
}

void parked_left_tell(struct supervisor *supervisor)
{
    parked_left_look(supervisor, tell, NULL);
}
