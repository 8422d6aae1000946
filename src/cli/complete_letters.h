/* SPDX-License-Identifier: MIT
 * What the dead-letter store knows for completing a command line, whether or not a service runs. Nothing is
 * said of what cannot be read. */
#ifndef CLI_COMPLETE_LETTERS_H
#define CLI_COMPLETE_LETTERS_H

/* Ids that begin with `prefix`, newest first, each with its mapping and reason. `state`: as typed, may be
 * NULL. */
void complete_ids(const char *state, const char *prefix);
/* Mappings that have dead letters, each with how many. */
void complete_mappings(const char *state);

#endif
