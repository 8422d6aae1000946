/* SPDX-License-Identifier: MIT
 * An instance of the connector: the host's side of it. */
#ifndef RABBITMQ_INSTANCE_H
#define RABBITMQ_INSTANCE_H

#include "rabbitmq.h"

struct rabbit {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const struct sluice_values *values;
    struct rabbit_config *config; /* until the link has it */
    char *name;
    bool publishes_only;
    struct rabbit_publisher *publisher; /* NULL: none yet */
    char **queues; /* names, for lanes */
    unsigned prefetch;
    struct rabbit_link *link;
    int fd; /* eventfd */
    struct rabbit_lane *lanes;
    bool streams; /* that is what the queues are */
    bool started; /* the link's thread */
    bool stopping, finishing, ended, stopped;
    int64_t stop_deadline_us;
};

/* ---- lanes.c ---- */
/* Says where streams begin that are opened. */
void lanes_begin(struct rabbit *rabbit);
/* Whether messages of the lane may go to the host. */
bool lanes_is_recorded(struct rabbit *rabbit, struct rabbit_lane *lane);
void lanes_open(struct rabbit *rabbit, struct rabbit_lane *lane);
void lanes_lose(struct rabbit *rabbit, struct rabbit_lane *lane);
/* Asks the host to let go of it. */
void lanes_close(struct rabbit *rabbit, struct rabbit_lane *lane);
/* Of struct sluice_connector: */
void lanes_drained(void *instance, void *lane);
void lanes_pause(void *instance, void *lane, bool paused);
void lanes_lag(void *instance, void *lane, struct sluice_lag *ret_lag);
void lanes_source_lag(void *instance, struct sluice_lag *ret_lag);

#endif
