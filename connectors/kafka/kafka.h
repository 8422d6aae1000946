/* SPDX-License-Identifier: MIT
 * What the files of the Kafka connector share.
 *
 * One consumer handle per instance. Its consumer queue carries events only (rebalances, commits,
 * errors, statistics): every partition's queue is forwarded to one queue of our own, so that events
 * are never stuck behind messages that there is no room for. Backpressure is not reading that queue;
 * the partition of a lane that is paused for longer is forwarded to nowhere. librdkafka's pause and resume
 * are not used. */
#ifndef KAFKA_H
#define KAFKA_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include <sluice/connector.h>

#define KAFKA_TEXT 512
#define KAFKA_QUEUE_MESSAGES 10000 /* fetched ahead at most, beside fetch.buffer */
#define KAFKA_NUDGE_US 1000 /* between two wake-ups of the fetchers, see messages.c */

enum kafka_start { KAFKA_START_EARLIEST, KAFKA_START_LATEST, KAFKA_START_TIMESTAMP };

/* Messages taken from the queue while their lane was paused, in their order. */
struct kafka_kept {
    rd_kafka_message_t **messages;
    size_t first, count, room, bytes;
};

struct kafka_lane {
    void *cookie; /* the host's */
    char *topic;
    int32_t partition;
    rd_kafka_queue_t *queue;
    bool paused, closing, drained;
    bool cut;          /* paused for so long that its partition is forwarded to nowhere, until nothing is kept */
    int64_t paused_us; /* since when */
    struct kafka_kept kept;
    int64_t settled;   /* offset up to which the host settled, -1: none */
    int64_t committed; /* as the broker confirmed, -1: unknown */
    int64_t newest;    /* offset delivered last, -1: none */
    int64_t recommit;  /* to be committed even if it is below what was committed, -1: none */
    bool made_anew;    /* its first message is where the group's offset belongs, see kafka_recommit */
    int64_t first;     /* offset delivered first, -1: none yet */
    int64_t stable;    /* log-stable offset, -1: unknown */
};

/* Finds out where partitions without a committed offset begin; on its own thread. */
struct kafka_lookup;
/* Fetches a token for one handle, on its own thread. */
struct kafka_fetch;
/* Threads that destroy handles. */
struct kafka_aside;
/* A publication that was refused at once, to be told within the next `receive`. */
struct kafka_refusal;

struct kafka {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const struct sluice_values *values;

    rd_kafka_conf_t *conf; /* template, see options.c */
    rd_kafka_topic_partition_list_t *topics;
    char *brokers, *group;
    enum kafka_start start;
    int64_t start_ms;
    int64_t fetch_buffer; /* bytes that librdkafka may fetch ahead */

    char *name;
    int fd; /* eventfd */
    rd_kafka_t *rk;
    rd_kafka_queue_t *events, *messages;
    struct kafka_lane **lanes; /* sorted by topic and partition */
    size_t lane_count;
    rd_kafka_topic_partition_list_t *known; /* committed offsets of lanes that this handle had */
    rd_kafka_topic_partition_list_t *sizes; /* topics, and (as offset) how many partitions each had
                                               when it was first looked at; with start: latest */
    int64_t recommit_us;          /* when to look at the lanes' `recommit`; 0: none has one */
    struct kafka_lane *last_lane; /* of the newest message, to find the next one's quickly */
    int64_t cut_us;               /* when to look for lanes to cut off; 0: none is paused and not yet cut */

    rd_kafka_event_t *revoke; /* deferred until its lanes are drained */
    int64_t revoke_deadline_us;
    struct kafka_lookup *lookup;
    char trouble[KAFKA_TEXT / 2]; /* why the last connection failed; "" */
    rd_kafka_resp_err_t trouble_code;
    int64_t damaged_us; /* when a batch that cannot be read was last met; 0: never */
    int64_t stop_deadline_us;
    int64_t restart_us; /* when to make a new handle after a fatal error; 0: not planned */
    unsigned restarts;
    struct kafka_aside *aside;

    int64_t nudged_us, nudge_until_us;

    struct kafka_fetch *fetch, *producer_fetch; /* the newest of each handle */

    rd_kafka_t *producer;
    rd_kafka_queue_t *reports;
    size_t unreported; /* publications whose outcome the host does not know */
    struct kafka_refusal *refusals;

    bool needs_nudges;     /* before 2.2.0, see messages.c */
    bool publishes_only;   /* joins no group */
    bool all_brokers_down; /* is the state told last, and still true */
    bool producer_broken;  /* by a fatal error: a new one is made when all is reported */
    bool producer_away;    /* no broker answered it yet, or since it last said so */
    bool stopping, closing, stopped;
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
/* The lane's log begins again at `offset`: a new generation of it, whose lane is returned. */
struct kafka_lane *kafka_rewind_lane(struct kafka *kafka, struct kafka_lane *lane, int64_t offset);
void kafka_pause_lane(void *instance, void *lane, bool paused);
/* Cuts off those that have been paused for long. */
void kafka_cut_lanes(struct kafka *kafka);
/* Bytes kept of lanes that are not cut off. */
size_t kafka_kept_bytes(const struct kafka *kafka);
void kafka_keep(struct kafka_lane *lane, rd_kafka_message_t *message);
/* NULL: none. */
rd_kafka_message_t *kafka_take_kept(struct kafka *kafka, struct kafka_lane *lane);
void kafka_lane_drained(void *instance, void *lane);

/* lookup.c */
/* Takes the event over. Begins after `delay_ms` (less than 1000). */
struct kafka_lookup *kafka_lookup_start(struct kafka *kafka, rd_kafka_event_t *event, int delay_ms);
bool kafka_lookup_done(const struct kafka_lookup *lookup);
/* Ends the lookup; the list (offsets to assign, metadata none) is the caller's. `ret_committed` has
 * the committed offset of each element, -1 where unknown. */
rd_kafka_topic_partition_list_t *kafka_lookup_take(struct kafka *kafka,
                                                   struct kafka_lookup *lookup,
                                                   rd_kafka_event_t **ret_event,
                                                   int64_t **ret_committed, char error[KAFKA_TEXT]);

/* Waits for its end and frees all. NULL is fine. */
void kafka_lookup_discard(struct kafka_lookup *lookup);

/* messages.c */
/* Delivers; returns whether more may be ready. */
bool kafka_deliver(struct kafka *kafka, const struct sluice_room *room);
/* All but the lane. */
void kafka_convert(const rd_kafka_message_t *from, struct sluice_message *to);
/* Commits what the ordinary commit would leave out, see `recommit`. */
void kafka_recommit(struct kafka *kafka);
void kafka_settle(void *instance, struct sluice_settle_item *items, size_t count);
void kafka_release(void *instance, void *const *handles, size_t count);
size_t kafka_headers(void *instance, void *handle, struct sluice_header *ret, size_t room);
void kafka_nudge(struct kafka *kafka);
/* Has a handle's threads fetch what they put off, see there. */
void kafka_wake_brokers(const struct kafka *kafka, rd_kafka_t *rk);

/* events.c */
void kafka_serve_events(struct kafka *kafka);
void kafka_on_log(struct kafka *kafka, rd_kafka_event_t *event);
/* Whether a broker is connected, by librdkafka's statistics. */
bool kafka_statistics_up(const char *text);
void kafka_lag(void *instance, void *lane, struct sluice_lag *ret_lag);

/* publish.c */
/* Makes the producer. Non-zero: logged. */
int kafka_publish_start(struct kafka *kafka);
int kafka_publish(void *instance, const struct sluice_publication *publication);
/* Tells what became of publications. */
void kafka_serve_reports(struct kafka *kafka);
/* Gives up what is under way, and tells that too. */
void kafka_publish_close(struct kafka *kafka);

/* oauth.c */
/* Fetches a token for `rk`, unless that is under way. `*fetch` is the handle's; it must be freed
 * before the handle is destroyed. */
void kafka_oauth_refresh(struct kafka *kafka, rd_kafka_t *rk, struct kafka_fetch **fetch);
/* Waits for its end, 10 s at most. NULL is fine. */
void kafka_fetch_free(struct kafka_fetch *fetch);

/* aside.c */
struct kafka_aside *kafka_aside_new(void);
/* Destroys the handle and what uses it, without waiting. `lookup` and `fetch` may be NULL. */
void kafka_aside_destroy(struct kafka_aside *aside, rd_kafka_t *rk, struct kafka_lookup *lookup,
                         struct kafka_fetch *fetch);
/* Waits until all are destroyed, but no longer than told; returns whether they are. */
bool kafka_aside_close(struct kafka_aside *aside, int64_t wait_us);

/* visit.c: a client of its own for a moment, of an instance that was not started */
struct kafka_visit {
    struct kafka *kafka;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct kafka_fetch *fetch;
    char error[KAFKA_TEXT]; /* the newest of the connection; "" */
};
/* Takes `conf` over. -1: `visit->error` says why. */
int kafka_visit_begin(struct kafka_visit *visit, struct kafka *kafka, rd_kafka_type_t type,
                      rd_kafka_conf_t *conf);
/* What is next but for what the connection tells, which is kept; to be destroyed. NULL: nothing yet. */
rd_kafka_event_t *kafka_visit_serve(struct kafka_visit *visit, int timeout_ms);
/* Waits for a broker. How many there are; -1: none answers, with a text that says so. */
int kafka_visit_wait(struct kafka_visit *visit, int64_t until_us, char text[KAFKA_TEXT]);
/* The topic's partitions; -1 with a text. `may` is what the user must be allowed, as READ. */
int kafka_visit_topic(struct kafka_visit *visit, const char *topic, const char *may, int timeout_ms,
                      char text[KAFKA_TEXT]);
void kafka_visit_end(struct kafka_visit *visit);
/* The part of a mapping that the options are of, for people. */
const char *kafka_part(const struct kafka *kafka);

/* check.c */
int kafka_check(void *instance, const struct sluice_check *check);

/* browse.c */
int kafka_browse(void *instance, const struct sluice_browse *browse);

#endif
