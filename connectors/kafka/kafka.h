/* SPDX-License-Identifier: MIT
 * What the files of the Kafka connector share.
 *
 * One consumer handle per instance. Its consumer queue carries events only (rebalances, commits,
 * errors, statistics): every partition's queue is forwarded to one queue of our own, so that events
 * are never stuck behind messages that there is no room for. Backpressure is not reading that queue;
 * a paused lane's partition is forwarded to nowhere. librdkafka's pause and resume are not used. */
#ifndef KAFKA_H
#define KAFKA_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include <sluice/connector.h>

#define KAFKA_TEXT 512
#define KAFKA_BROKERS_MOST 64
#define KAFKA_QUEUE_MESSAGES 10000 /* fetched ahead at most, beside fetch.buffer */

enum kafka_start { KAFKA_START_EARLIEST, KAFKA_START_LATEST, KAFKA_START_TIMESTAMP };

struct kafka_lane {
    void *cookie; /* the host's */
    char *topic;
    int32_t partition;
    rd_kafka_queue_t *queue;
    bool paused, closing, drained;
    int64_t settled;   /* offset up to which the host settled, -1: none */
    int64_t committed; /* as the broker confirmed, -1: unknown */
    int64_t first;     /* offset delivered first, -1: none yet */
    int64_t stable;    /* log-stable offset, -1: unknown */
};

/* Finds out where partitions without a committed offset begin; on its own thread. */
struct kafka_lookup;
struct kafka_oauth;

struct kafka {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const struct sluice_values *values;

    rd_kafka_conf_t *conf; /* template, see options.c */
    rd_kafka_topic_partition_list_t *topics;
    char *brokers, *group;
    enum kafka_start start;
    int64_t start_ms;
    bool needs_nudges;    /* see messages.c */
    int64_t fetch_buffer; /* bytes that librdkafka may fetch ahead */

    char *name;
    int fd; /* eventfd */
    rd_kafka_t *rk;
    rd_kafka_queue_t *events, *messages, *discard;
    struct kafka_lane **lanes; /* sorted by topic and partition */
    size_t lane_count;
    struct kafka_lane *last_lane; /* of the newest message, to find the next one's quickly */

    rd_kafka_event_t *revoke; /* deferred until its lanes are drained */
    int64_t revoke_deadline_us;
    struct kafka_lookup *lookup;
    bool stopping, closing, stopped;
    int64_t stop_deadline_us;
    int64_t restart_us; /* when to make a new handle after a fatal error; 0: not planned */
    unsigned restarts;
    atomic_int destroying; /* handles being destroyed on other threads */

    int32_t brokers_seen[KAFKA_BROKERS_MOST];
    size_t broker_count;
    int64_t nudged_us, nudge_until_us;

    struct kafka_oauth *oauth;
    rd_kafka_t *producer;
    rd_kafka_queue_t *reports;
};

int64_t kafka_now(void);
void kafka_log(struct kafka *kafka, uint32_t level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void kafka_state(struct kafka *kafka, uint32_t state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* options.c */
extern const struct sluice_option kafka_options[];
int kafka_configure(struct kafka *kafka);
void kafka_unconfigure(struct kafka *kafka);

/* kafka.c */
/* Makes a new consumer and subscribes. Non-zero: reported, tried again later. */
int kafka_connect(struct kafka *kafka);
/* Lanes are lost, the handle is destroyed on a thread of its own. */
void kafka_disconnect(struct kafka *kafka);
void kafka_plan_restart(struct kafka *kafka);

/* lanes.c */
void kafka_rebalance(struct kafka *kafka, rd_kafka_event_t *event);
/* Goes on with what a rebalance waits for. */
void kafka_rebalance_continue(struct kafka *kafka);
struct kafka_lane *kafka_find_lane(struct kafka *kafka, const char *topic, int32_t partition);
void kafka_lose_all_lanes(struct kafka *kafka);
void kafka_pause_lane(void *instance, void *lane, bool paused);
void kafka_lane_drained(void *instance, void *lane);

/* lookup.c */
struct kafka_lookup *kafka_lookup_start(struct kafka *kafka, rd_kafka_event_t *event);
bool kafka_lookup_done(const struct kafka_lookup *lookup);
/* Ends the lookup; the list (offsets to assign, metadata none) is the caller's. `ret_committed` has
 * the committed offset of each element, -1 where unknown. */
rd_kafka_topic_partition_list_t *kafka_lookup_take(struct kafka_lookup *lookup,
                                                   rd_kafka_event_t **ret_event,
                                                   int64_t **ret_committed, char error[KAFKA_TEXT]);

/* messages.c */
/* Delivers; returns whether more may be ready. */
bool kafka_deliver(struct kafka *kafka, const struct sluice_room *room);
void kafka_settle(void *instance, struct sluice_settle_item *items, size_t count);
void kafka_release(void *instance, void *const *handles, size_t count);
size_t kafka_headers(void *instance, void *handle, struct sluice_header *ret, size_t room);
void kafka_nudge(struct kafka *kafka);

/* events.c */
void kafka_serve_events(struct kafka *kafka);
void kafka_lag(void *instance, void *lane, struct sluice_lag *ret_lag);

/* publish.c */
int kafka_publish(void *instance, const struct sluice_publication *publication);
void kafka_serve_reports(struct kafka *kafka);
void kafka_publish_close(struct kafka *kafka);

/* oauth.c */
int kafka_oauth_open(struct kafka *kafka);
/* Fetches a token for `rk` on a thread of its own. */
void kafka_oauth_refresh(struct kafka *kafka, rd_kafka_t *rk);
/* Until no fetch uses a handle any more; at most 10 s. */
void kafka_oauth_wait(struct kafka *kafka);
void kafka_oauth_close(struct kafka *kafka);

/* check.c */
int kafka_check(void *instance, const struct sluice_check *check);

#endif
