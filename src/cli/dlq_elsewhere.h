/* SPDX-License-Identifier: MIT
 * Dead letters that are not in the state directory, as dead_letter.to has them go elsewhere: commands that find
 * none there say so. */
#ifndef CLI_DLQ_ELSEWHERE_H
#define CLI_DLQ_ELSEWHERE_H

/* Says where the dead letters of a mapping go (NULL: of all) that do not stay here, as the running service tells;
 * nothing where none runs. `state`: as it was given, NULL: the usual one. */
void dlq_elsewhere_tell(const char *state, const char *mapping);

#endif
