/* SPDX-License-Identifier: MIT
 * Where commands look for the state of the service. */
#ifndef CLI_STATE_DIRECTORY_H
#define CLI_STATE_DIRECTORY_H

/* `given` if not NULL, else $STATE_DIRECTORY, else /var/lib/sluice, or ~/.local/state/sluice where
 * only that is there. Memory of the caller's. */
char *state_directory_find(const char *given);

#endif
