/* SPDX-License-Identifier: MIT
 * Which way a replay goes: within the running service, by orders on its control socket, or in this
 * process where none runs. */
#ifndef CLI_DLQ_REPLAY_WAY_H
#define CLI_DLQ_REPLAY_WAY_H

#include <stdbool.h>
#include <stdint.h>

#include "service/config.h"
#include "service/replay.h"

struct dlq_replay_way {
    char *socket;     /* the service's; NULL: in this process */
    long holder;      /* process id of the service */
    long long number; /* of the replay in the service */
    bool stopped;     /* there, by anybody */
    struct replay *replay;
    struct replay_alone *alone;
    struct replay_context context;
};

/* Finds out which. EX_OK; or after saying what is wrong: EX_TEMPFAIL where another process has the state
 * directory and takes no orders, EX_IOERR. */
int dlq_replay_way_open(struct dlq_replay_way *way, const struct configuration *configuration);
void dlq_replay_way_close(struct dlq_replay_way *way);

/* Begins one. EX_OK, or a sysexits code after saying why not. */
int dlq_replay_way_begin(struct dlq_replay_way *way, const struct replay_order *order);
/* Goes on watching one that the service has. EX_OK; EX_DATAERR after saying that there is none. */
int dlq_replay_way_attach(struct dlq_replay_way *way, long long number);
/* EX_OK; EX_CONFIG after saying why nothing could be chosen; EX_UNAVAILABLE where the service is gone. */
int dlq_replay_way_status(struct dlq_replay_way *way, struct replay_status *ret_status);
void dlq_replay_way_stop(struct dlq_replay_way *way, int64_t drain_us);
/* After its end. */
void dlq_replay_way_end(struct dlq_replay_way *way);

#endif
