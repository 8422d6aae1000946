/* SPDX-License-Identifier: MIT
 * Takes letters whose replay is done out of the store, on a thread of its own, many in a transaction. One
 * that is not out when the process ends is only looked at again: its token is recorded. */
#ifndef SERVICE_REPLAY_REMOVER_H
#define SERVICE_REPLAY_REMOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "io/dead_letter_store.h"

struct replay_remover;

/* Opens the store, writes the line of the log, and begins. `act`, with its texts, is borrowed and changed;
 * `wake`, an eventfd, is written to when there is something new to ask for. NULL with a fault. */
struct replay_remover *replay_remover_new(const char *state_directory, struct dead_letter_act *act,
                                          int wake, struct fault *fault);
/* Ends the thread, with what it was given removed or not. NULL is fine. */
void replay_remover_free(struct replay_remover *remover);

/* A letter is done, as it was with so many edits. */
void replay_remover_add(struct replay_remover *remover, int64_t number, uint32_t edits);
/* One died again: for the log. */
void replay_remover_died(struct replay_remover *remover);

struct replay_remover_state {
    size_t waiting;   /* letters that are done and still there */
    uint64_t changed; /* that stay, as they were edited meanwhile */
    bool finished;    /* since replay_remover_finish: all is out, and the log tells it */
    bool failing;     /* the store cannot be written; it is tried again */
    struct fault fault;
};
void replay_remover_state(struct replay_remover *remover, struct replay_remover_state *ret_state);
/* Nothing is added any more: removes what is left. */
void replay_remover_finish(struct replay_remover *remover);

#endif
