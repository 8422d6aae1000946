/* SPDX-License-Identifier: MIT */
#include "cli/state_directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
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

int state_directory_exit(const char *directory, const char *file)
{
    char *path = memory_format("%s/%s", directory, file);
    int code = access(path, R_OK) != 0 && errno == EACCES ? EX_NOPERM : EX_IOERR;

    free(path);
    return code;
}

bool state_directory_is_missing(const char *directory)
{
    return access(directory, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}
