/* SPDX-License-Identifier: MIT
 * Where commands look for the state of the service. */
#ifndef CLI_STATE_DIRECTORY_H
#define CLI_STATE_DIRECTORY_H

#include <stdbool.h>

/* `given` if not NULL, else $STATE_DIRECTORY, else /var/lib/sluice, or ~/.local/state/sluice where
 * only that is there. Memory of the caller's. */
char *state_directory_find(const char *given);

/* What to exit with where `file` in it could not be read: EX_NOPERM, or EX_IOERR. */
int state_directory_exit(const char *directory, const char *file);

/* Whether there is none of that name. */
bool state_directory_is_missing(const char *directory);

#endif
