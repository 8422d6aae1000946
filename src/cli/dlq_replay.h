/* SPDX-License-Identifier: MIT
 * What a person sees of a replay. */
#ifndef CLI_DLQ_REPLAY_H
#define CLI_DLQ_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "service/config.h"
#include "service/replay.h"

/* What a replay would do. */
struct dlq_replay_plan {
    const struct dlq_choice *choice;
    const struct replay_order *order;
    const struct configuration *configuration;
    struct dead_letter_store *store;
    bool tell; /* in full; else only count */
};

/* Counts the letters, and tells of each mapping what would become of them. EX_OK or a code after
 * saying why not. */
int dlq_replay_plan(const struct dlq_replay_plan *plan, uint64_t *ret_total);

struct dlq_replay_view {
    struct dlq_screen screen;
    bool json, through_service;
    bool to_source;              /* they are published, not invoked */
    uint64_t total;              /* letters chosen */
    struct replay_status before; /* of the one that went first */
    const char *end;             /* why it stopped early: interrupted, failures, unavailable,
                                    stopped_there */
    char why[512];
    bool attached;               /* the replay was begun by another command */
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
