/* SPDX-License-Identifier: MIT
 * What a person sees of a replay. */
#ifndef CLI_DLQ_REPLAY_H
#define CLI_DLQ_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/dlq_inside.h"
#include "service/replay.h"

struct dlq_replay_view {
    struct dlq_screen screen;
    bool json;
    uint64_t total;              /* letters chosen */
    struct replay_status before; /* of the one that went first */
    const char *end;             /* why it stopped early: interrupted, failures, unavailable */
    char why[512];
    int64_t shown_us;
    unsigned shown_width;
};

/* One line on a terminal, redrawn; a line now and then elsewhere. On stderr. */
void dlq_replay_progress(struct dlq_replay_view *view, const struct replay_status *status);
/* How the one that went first fared. */
void dlq_replay_first(struct dlq_replay_view *view, const char *id,
                      const struct replay_status *status);
/* How it all went. Returns EX_OK, DLQ_EXIT_SOME, EX_UNAVAILABLE or EX_TEMPFAIL. */
int dlq_replay_tell(struct dlq_replay_view *view, const struct replay_status *status);

#endif
