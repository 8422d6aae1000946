/* SPDX-License-Identifier: MIT
 * What the files of the RabbitMQ connector share.
 *
 * librabbitmq blocks: it connects, logs in, declares and writes until done. So each instance has a
 * *link*, a thread that owns the connection, does all that, and sends and expects heartbeats whatever
 * the host does. The two sides meet in struct rabbit_link's lists under one lock: events and messages
 * one way, settlements and wishes the other; an event descriptor wakes each side. The link never calls
 * the host, and owns all that it needs, so that a thread stuck in a name server can be left behind.
 *
 * A queue is a lane. Each time it is consumed from anew it is a new generation of it, on a channel of
 * its own with a new number: what still comes on an old one is nobody's. */
#ifndef RABBITMQ_H
#define RABBITMQ_H

#include <pthread.h>
#include <stdatomic.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

#include <sluice/connector.h>

#define RABBIT_TEXT   512
#define RABBIT_SESSION 24 /* a session's name */
#define RABBIT_SECOND INT64_C(1000000)

int64_t rabbit_now(void);
/* A pause of about `first_us` doubled `tries` times, at most `most_us`, half of it by chance. */
int64_t rabbit_backoff(unsigned tries, int64_t first_us, int64_t most_us);

/* ---- options.c ---- */

struct rabbit_host {
    char *name;
    int port;
};

/* Where a stream is begun of which nothing was read. */
enum rabbit_begin {
    RABBIT_NO_STREAM = 0,
    RABBIT_BEGIN_FIRST,
    RABBIT_BEGIN_LAST, /* the last chunk */
    RABBIT_BEGIN_NEXT,
    RABBIT_BEGIN_TIME,
    RABBIT_BEGIN_NUMBER
};

#define RABBIT_NO_LIMIT      (-1)
#define RABBIT_DEFAULT_LIMIT 20 /* deliveries after the first, of RabbitMQ 4 where nothing else is said */

/* What the options come to. Owned by whoever made it. */
struct rabbit_config {
    struct rabbit_host *hosts;
    size_t host_count;
    char *servers; /* all hosts, for people */
    char **queues;
    size_t queue_count;
    enum rabbit_begin begin; /* the queues are streams, unless RABBIT_NO_STREAM */
    uint64_t begin_at;       /* seconds, or an offset */
    char *declare; /* type of queue to make where there is none; NULL: none is made */
    amqp_table_t arguments; /* to make it with, its type among them; its texts are owned */
    char *vhost, *username, *password;
    bool external; /* EXTERNAL instead of PLAIN */
    bool tls, verify;
    char *ca_file, *certificate_file, *key_file, *key_password;
    int heartbeat_s;
    int64_t connect_timeout_us;
    int64_t consumer_timeout_us; /* how long the broker lets a message be unacknowledged; 0: for ever */
    unsigned prefetch;           /* 0: as the host's first room says */
    bool knows_limit;            /* else the broker's version tells it */
    int64_t delivery_limit;      /* RABBIT_NO_LIMIT: quorum queues have none */
    bool has_priority;
    int priority;
    char *exchange, *routing_key; /* to publish to; NULL: to the first queue */
};

extern const struct sluice_option rabbit_options[];
/* `publishing`: nothing is consumed. NULL: refused. */
struct rabbit_config *rabbit_config_new(const struct sluice_host_api *api,
                                        const struct sluice_values *values, bool publishing);
/* From now on the place is the one of a publication to `destination`, see rabbit_publication_new. */
void rabbit_config_aim(struct rabbit_config *config, const char *destination);
void rabbit_config_free(struct rabbit_config *config);
uint32_t rabbit_capabilities(const struct sluice_values_api *api,
                             const struct sluice_values *values);

/* ---- message.c ---- */

/* One block of memory with all it points to. */
struct rabbit_message {
    struct rabbit_message *next;
    uint64_t tag;
    uint64_t offset;     /* in a stream */
    uint64_t generation; /* of its lane */
    size_t size;         /* of the block */
    int64_t timestamp_ms;
    uint32_t delivery_count;
    bool has_timestamp;
    bool is_from_stream;
    bool endangered;     /* see rabbit_danger */
    struct sluice_bytes payload, message_id;
    struct sluice_bytes identity; /* no other delivery has it; none in a stream */
    struct sluice_header *headers;
    size_t header_count;
};

/* Where a delivery comes from, besides its properties. */
struct rabbit_origin {
    const char *queue, *vhost;
    const char *session; /* names the connection */
    uint64_t tag, generation;
    int64_t danger; /* earlier deliveries that endanger it; -1: none do */
    bool redelivered;
    bool is_stream;
    amqp_bytes_t exchange, routing_key;
};

/* Without its body, for which there is room at `payload.data`. NULL: no memory. */
struct rabbit_message *rabbit_message_new(const struct rabbit_origin *origin,
                                          const amqp_basic_properties_t *properties,
                                          size_t body_size);
/* How many earlier deliveries endanger a message where the broker drops it after `limit` of them. A quarter of
 * them, and two at least, are left for crashes until it is kept elsewhere; of few there is less to leave. -1: no
 * number does. */
int64_t rabbit_danger(int64_t limit);
/* As the host has it, without lane and handle. */
void rabbit_message_convert(const struct rabbit_message *from, bool is_stream, struct sluice_message *to);
/* False: it does not come from a stream. */
bool rabbit_stream_offset(const amqp_basic_properties_t *properties, uint64_t *ret_offset);

/* ---- tags.c ---- */

/* The delivery tags of a channel that are not acknowledged yet: which are done, and since when the
 * oldest is out. */
struct rabbit_tag {
    int64_t delivered_us;
    uint64_t offset; /* in a stream */
    uint8_t state;
};

struct rabbit_tags {
    struct rabbit_tag *ring;
    size_t room; /* power of two */
    uint64_t oldest, next; /* tags from `oldest` up to `next` - 1 are kept */
    size_t done; /* of them, those to be acknowledged */
};

void rabbit_tags_fini(struct rabbit_tags *tags);
/* Takes note of a delivery; tags come one after the other. 0; -1: no memory, or not the next tag. */
int rabbit_tags_add(struct rabbit_tags *tags, uint64_t tag, uint64_t offset, int64_t now_us);
/* To be acknowledged. False: it is not out. */
bool rabbit_tags_done(struct rabbit_tags *tags, uint64_t tag);
/* All of a stream up to the offset are to be acknowledged. */
void rabbit_tags_done_to(struct rabbit_tags *tags, uint64_t offset);
/* It needs no acknowledgement any more (given back, refused). False: it is not out. */
bool rabbit_tags_gone(struct rabbit_tags *tags, uint64_t tag);
/* The tag up to which everything is done, to be acknowledged as a whole; 0: none. */
uint64_t rabbit_tags_take_prefix(struct rabbit_tags *tags);
/* One done tag after `after`, to be acknowledged alone; 0: none. */
uint64_t rabbit_tags_take_single(struct rabbit_tags *tags, uint64_t after);
/* When the oldest one that is still out was delivered; 0: none is. */
int64_t rabbit_tags_oldest_us(const struct rabbit_tags *tags);

/* ---- link.c, link_connect.c, link_channel.c ---- */

enum rabbit_event_kind {
    RABBIT_STATE = 1,
    RABBIT_LOG,
    RABBIT_LANE_OPENED,
    RABBIT_LANE_CLOSING, /* to be given back, see rabbit_link_give_back */
    RABBIT_LANE_LOST,    /* the lane is the host's side's alone now */
    RABBIT_ENDED         /* the thread has closed its connection */
};

struct rabbit_event {
    struct rabbit_event *next;
    enum rabbit_event_kind kind;
    uint32_t number; /* state, or level of the log */
    struct rabbit_lane *lane;
    const char *name; /* of a log entry; static */
    char text[RABBIT_TEXT];
};

struct rabbit_list {
    struct rabbit_message *first, *last;
    size_t count;
};

struct rabbit_lane {
    struct rabbit_lane *next; /* the host's side's */
    atomic_size_t waiting;    /* bytes of messages that the host has not taken yet */
    size_t queue;             /* index into config.queues */
    uint64_t generation;
    struct rabbit_list fetched; /* under the link's lock */
    int64_t depth;              /* ready at the broker, or where the stream ends; -1 unknown; under the link's lock */
    /* The host's side's: */
    void *cookie;
    struct rabbit_list ready; /* taken over from `fetched` */
    size_t held;              /* delivered and not settled */
    bool known, paused, closing, drained;
    bool begun;    /* of a stream: the link knows where to begin */
    bool told;     /* so: the host knows where it begins */
    bool recorded; /* so: the host has recorded it */
    bool placed;   /* so: `settled` is known */
    uint64_t settled, seen; /* so: all before is settled; is delivered */
};

/* A wish of the host's side. */
struct rabbit_settlement {
    uint64_t generation, tag;
    int64_t due_us; /* RELEASE */
    uint32_t action; /* enum sluice_settlement, or one for the whole lane: */
};
#define RABBIT_GIVE_BACK    100u
#define RABBIT_ACCEPT_UP_TO 101u /* of a stream; `tag` is an offset */
#define RABBIT_BEGIN        102u /* a stream, where link->config says */
#define RABBIT_BEGIN_AT     103u /* a stream, with the offset `tag` */

struct rabbit_link;

/* Takes the configuration over. NULL: no memory. */
struct rabbit_link *rabbit_link_new(struct rabbit_config *config, const char *name);
/* Starts the thread. 0; or an errno. `wake_fd` (not owned) is written to where there is news. At most
 * `prefetch` messages of each queue and about `bytes` of all are held that the host has not taken. */
int rabbit_link_start(struct rabbit_link *link, int wake_fd, unsigned prefetch, size_t bytes);
/* What happened since, in order; the caller's. */
struct rabbit_event *rabbit_link_events(struct rabbit_link *link);
/* Moves what the lanes fetched to their `ready`. */
void rabbit_link_fetch(struct rabbit_link *link, struct rabbit_lane *lanes);
void rabbit_link_settle(struct rabbit_link *link, const struct rabbit_settlement *settlements,
                        size_t count);
int64_t rabbit_link_depth(struct rabbit_link *link, const struct rabbit_lane *lane);
/* Acknowledges what is settled, closes the connection and ends: RABBIT_LANE_LOST for each lane, then
 * RABBIT_ENDED follow. */
void rabbit_link_stop(struct rabbit_link *link);
/* Ends it at once and waits for that, `wait_us` at most. True: its last events can be taken, then it is
 * to be freed. False: it is left behind, and frees itself and the lanes that are open. */
bool rabbit_link_end(struct rabbit_link *link, int64_t wait_us);
void rabbit_link_free(struct rabbit_link *link);

/* A thread for librabbitmq, which reads tables within tables by recursion: the most that fit into a frame
 * must fit onto its stack. 0; or an errno. */
int rabbit_thread(pthread_t *ret_thread, void *(*run)(void *), void *argument);

void rabbit_list_join(struct rabbit_list *to, struct rabbit_list *from);
void rabbit_list_free(struct rabbit_list *list);

/* ---- check.c ---- */
/* Takes the configuration over. `publishing`: whether messages could be published, to `destination` unless
 * that is NULL. 0: all is well. */
int rabbit_check(struct rabbit_config *config, const struct sluice_check *check, bool publishing,
                 const char *destination);

/* ---- browse.c ---- */
/* Takes the configuration over; see `browse` of struct sluice_connector. */
int rabbit_browse_places(struct rabbit_config *config, const struct sluice_browse *browse,
                         bool may_leave_trace);

#endif
