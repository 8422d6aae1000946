/* SPDX-License-Identifier: MIT
 * What a replay needs where no service runs: the state directory with its lock, the stores, and a
 * recorder. */
#ifndef SERVICE_REPLAY_ALONE_H
#define SERVICE_REPLAY_ALONE_H

#include "service/replay.h"

struct replay_alone;

/* Takes the state directory of the configuration. NULL with a fault: another sluice has it, or it
 * cannot be used. Fills the context. */
struct replay_alone *replay_alone_open(const struct configuration *configuration,
                                       struct replay_context *ret_context, struct fault *fault);
/* After the replay was freed. NULL is fine. */
void replay_alone_close(struct replay_alone *alone);

/* The process that uses the state directory, as it wrote itself down (0: not known); -1: nobody. */
long replay_alone_holder(const char *state_directory);

#endif
