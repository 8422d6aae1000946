/* SPDX-License-Identifier: MIT */
#include "cli/state_directory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

#define STATE_DIRECTORY "/var/lib/sluice"

char *state_directory_find(const char *given)
{
    const char *state = getenv("STATE_DIRECTORY"), *home = getenv("HOME");
    char *own;

    if (given)
        return memory_text(given);
    if (state && *state)
        return memory_text_n(state, strcspn(state, ":")); /* systemd.exec(5) */
    if (access(STATE_DIRECTORY, F_OK) && home && *home) {
        own = memory_format("%s/.local/state/sluice", home);
        if (!access(own, F_OK))
            return own;
        free(own);
    }
    return memory_text(STATE_DIRECTORY);
}
