/* SPDX-License-Identifier: MIT
 * The connector ABI: all that a plugin author needs.
 *
 * A connector is a shared object, `sluice-NAME.so`, that exports one symbol, `sluice_connector`
 * (see SLUICE_CONNECTOR). It knows one kind of system: it receives messages from it, settles them
 * with it and publishes to it. Everything else (batches, tokens, retries, dead letters) is the
 * host's work.
 *
 * Threads. One instance is made for each poller of each mapping. The host calls all operations of
 * one instance from one thread, never two at a time; different instances run on different threads.
 * Host functions may be called only from that thread, from within an operation, except `log`, which
 * any thread may call. Signals are blocked in all threads before the first operation.
 *
 * Never block. Operations return at once; what takes time is finished later and reported from
 * within `receive`. Only `check` and `browse` may block, up to their deadlines.
 *
 * Life of an instance. `open` (offline) -> `start` -> `receive`... -> `stop` -> `receive`... until
 * it reports stopped -> `close`. `close` accepts an instance in any state.
 *
 * Life of a message. `deliver` -> (headers)* -> settled -> `release`. Every message delivered is
 * released exactly once, and before that either settled or its lane reported lost.
 *
 * Errors never cross this boundary as errno: an operation that fails says why through `state` or a
 * fault, and returns as documented. A connector never calls exit or abort on bad input, never
 * writes to stdout or stderr, never changes signal handlers or the locale.
 *
 * Versions. The host refuses another major version. Minor versions only append members; the host
 * copies the smaller of both sizes, and a missing operation is NULL.
 *   1.0  first version
 *   1.1  `open_publisher`, `capabilities_with`, `source_lag` and `browse`; the host's `settle_failed`,
 *        `unpublishable` and `lane_position`; a message's `endangered`; SLUICE_NEEDS_POSITION and
 *        _LACKS_HEADERS; SLUICE_OPTION_CONSUME and _PUBLISH
 *   1.2  `browse` of what leaves a trace: SLUICE_BROWSE_LEAVES_TRACE; `allow`, `stopped`, `note`, `most_messages`
 *        and `most_bytes` of struct sluice_browse */
#ifndef SLUICE_CONNECTOR_H
#define SLUICE_CONNECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/message.h>
#include <sluice/option.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ABI_MAJOR 1
#define SLUICE_ABI_MINOR 2
#define SLUICE_ABI_MAGIC 0x65636c73u /* "slce" */

/* ---- what a connector can do: bits of `capabilities` ---- */
#define SLUICE_CAN_SETTLE_UP_TO    0x0001u /* accepting a position accepts all before it in its lane
                                              (Kafka), and a position names the same message in
                                              all sessions: the host records which are finished and
                                              skips them when they come again, after a crash too.
                                              Without it every message is settled alone, and
                                              positions may begin again with each session */
#define SLUICE_CAN_DELAY           0x0002u /* RELEASE honours its delay */
#define SLUICE_CAN_EXTEND          0x0004u /* `extend` renews the lease of unsettled messages */
#define SLUICE_CAN_PUBLISH         0x0008u
#define SLUICE_CAN_BROWSE          0x0010u /* 1.1 */
#define SLUICE_CAN_PAUSE_LANE      0x0020u
#define SLUICE_HAS_DELIVERY_COUNT  0x0040u
#define SLUICE_HAS_MESSAGE_ID      0x0080u
#define SLUICE_HAS_KEY             0x0100u
#define SLUICE_IS_ORDERED          0x0200u /* positions of a lane arrive in order */
#define SLUICE_HAS_STABLE_IDENTITY 0x0400u /* lane and position (or `identity`) name a message across
                                              redeliveries */
#define SLUICE_NEEDS_POSITION      0x0800u /* the source does not remember what is finished, and each
                                              instance gets all of it: the host records the lane's
                                              position, see `lane_position`. Only with
                                              SLUICE_CAN_SETTLE_UP_TO */
#define SLUICE_LACKS_HEADERS       0x1000u /* 1.1. What it publishes arrives without headers: dead letters
                                              there tell their story in the payload, or not at all */
#define SLUICE_BROWSE_LEAVES_TRACE 0x2000u /* 1.2. `browse` takes messages and gives them back, which the source
                                              counts or others notice: only where `allow` says so. With
                                              SLUICE_CAN_BROWSE */

/* ---- states a connector reports, see `state` ---- */
enum sluice_state {
    SLUICE_STATE_CONNECTING = 1, /* starting up, or between two tries */
    SLUICE_STATE_RUNNING,        /* connected; messages arrive when there are any */
    SLUICE_STATE_UNREACHABLE,    /* no broker answers; retried */
    SLUICE_STATE_UNAUTHORISED,   /* credentials or permissions refused; retried */
    SLUICE_STATE_MISSING,        /* topic, queue or vhost does not exist; retried */
    SLUICE_STATE_FAILED          /* anything else that stops delivery; retried */
};

/* How much the host can take in now. Zero room is legal and means: keep the session alive, report
 * lane events, deliver nothing. */
struct sluice_room {
    size_t messages;
    size_t bytes; /* of keys and payloads; the last message may reach beyond it, so that one of any
                     size finds room */
};

/* A lane: what the source keeps in order. */
struct sluice_lane {
    const char *name;    /* stable and unique within the mapping: `orders/3`; copied by the host */
    const char *source;  /* topic or queue: `orders`; copied by the host */
    int32_t partition;   /* number of the partition, -1 where there is none */
    uint32_t reserved;
    void *cookie;        /* the connector's own, given back in every call about the lane */
};

enum sluice_settlement {
    SLUICE_ACCEPT = 1, /* finished: never deliver it again */
    SLUICE_RELEASE,    /* give it back, to be delivered again after `delay_us` */
    SLUICE_REJECT      /* refuse it for good, as the source understands that */
};

/* One settlement. With SLUICE_CAN_SETTLE_UP_TO the host settles once per lane: ACCEPT of `position`,
 * a position that was delivered, and all before it; `handle` is NULL. Otherwise one item settles
 * one message by `handle`. */
struct sluice_settle_item {
    void *lane;       /* the connector's cookie of the lane */
    void *handle;
    uint64_t position;
    int64_t delay_us; /* RELEASE only */
    uint32_t action;  /* enum sluice_settlement */
    uint32_t result;  /* out: 0 taken over; 1 stale (lane lost, receipt expired): not an error */
};

/* A message to publish. All memory is the host's and stays valid until `published` is called. */
struct sluice_publication {
    const char *destination; /* topic, queue; NULL: the one that the options name */
    struct sluice_bytes key; /* absent where the connector has no SLUICE_HAS_KEY */
    struct sluice_bytes payload;
    const struct sluice_header *headers;
    size_t header_count;
    void *cookie; /* the host's, given back in `published` */
};

struct sluice_lag {
    int64_t messages;  /* behind the newest deliverable message; -1 unknown */
    int64_t oldest_ms; /* timestamp of the oldest unsettled message; -1 unknown */
};

/* ---- the host's services ---- */
struct sluice_host;

enum sluice_log_level { SLUICE_LOG_ERROR = 1, SLUICE_LOG_WARNING, SLUICE_LOG_INFO, SLUICE_LOG_DEBUG };

struct sluice_host_api {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    const struct sluice_values_api *values;

    /* Any thread. `event` is a short constant in snake_case; `text` is for people. The host adds
     * time and mapping and limits repetition. Never pass a secret. */
    void (*log)(struct sluice_host *host, uint32_t level, const char *event, const char *text);

    /* The instance's state changed. `text` says what was found and what to do, naming brokers and
     * topics; NULL for CONNECTING and RUNNING. Copied. Repeats are cheap and change nothing. */
    void (*state)(struct sluice_host *host, uint32_t state, const char *text);

    /* Lane events, only within `receive` and `close`.
     * opened:   the source gave us the lane. Returns the host's cookie for `sluice_message.lane`.
     * closing:  the source takes the lane away soon. The host starts no new invocation on it and
     *           calls `lane_drained` once none is in flight; settling goes on meanwhile. The
     *           connector waits for that, but not past its own deadline.
     * lost:     the lane is gone. When this returns, all messages of the lane have been released
     *           and nothing of it will be settled. Legal with or without `lane_closing` before. */
    void *(*lane_opened)(struct sluice_host *host, const struct sluice_lane *lane);
    void (*lane_closing)(struct sluice_host *host, void *lane);
    void (*lane_lost)(struct sluice_host *host, void *lane);

    /* Within `receive`: hands over messages, those of one lane in order. The array is the
     * connector's and is copied; the memory that the messages point to is borrowed, see
     * struct sluice_message. */
    void (*deliver)(struct sluice_host *host, const struct sluice_message *messages, size_t count);

    /* Within `receive`: the source has durably taken note that everything of the lane before
     * `position` (exclusive) is finished; told after `lane_opened` for the starting point too where
     * it is known. Only with SLUICE_CAN_SETTLE_UP_TO. */
    void (*settled)(struct sluice_host *host, void *lane, uint64_t position);

    /* Within `receive` and `close`: a publication is durable (`error` NULL), or failed or is given up
     * (`error` says why, naming the destination). Told once for each. */
    void (*published)(struct sluice_host *host, void *cookie, const char *error);

    /* Within `receive`, after `stop`: all is flushed, `close` may follow. */
    void (*stopped)(struct sluice_host *host);

    /* Within `receive`: the source did not take a commit or settlements, so many requests of them. Only
     * counted: say why through `log` or `state`, and try again where that makes sense. */
    void (*settle_failed)(struct sluice_host *host, uint32_t requests);

    /* 1.1, see SLUICE_HOST_HAS. In place of `published`: the destination will never take this, however
     * often it is tried again, as it is too large for it. */
    void (*unpublishable)(struct sluice_host *host, void *cookie, const char *error);

    /* 1.1. Within `receive`, with SLUICE_NEEDS_POSITION: where the lane is to be delivered from, as it is
     * durably recorded; all before is finished, and `ret_position` itself need not exist. 1; or 0: nothing
     * is recorded; or -1: the record cannot be read now (the host says why), ask again later. A lane
     * without a record begins where its first `settled` says, and nothing of it may be delivered before
     * this function returns 1. */
    int (*lane_position)(struct sluice_host *host, void *lane, uint64_t *ret_position);
};

/* Whether the host has a member that 1.0 did not have. */
#define SLUICE_HOST_HAS(api, member)                                                               \
    ((api)->struct_size >= offsetof(struct sluice_host_api, member) + sizeof((api)->member))

/* What `check` found, for people. `report` may be called several times, in order. */
struct sluice_check {
    int64_t deadline_us; /* how long the whole check may take, from its start */
    int64_t hold_us;     /* how long a message may stay unsettled by the mapping's rules; -1: without
                            end. Longer than the source allows deserves a word */
    void *cookie;
    /* `ok`: what was tried and worked; otherwise what failed and the cure. */
    void (*report)(void *cookie, bool ok, const char *text);
    const char *destination; /* 1.1, read only where the host's `abi_minor` is 1 or more, by an instance
                                that only publishes: what to try in place of what the options name;
                                NULL: that */
};

/* What `browse` is to read. */
struct sluice_browse {
    int64_t deadline_us;     /* how long all of it may take, from its start */
    const char *destination; /* what to read in place of what the options name, as in a publication;
                                NULL: that */
    int64_t since_ms;        /* only what was written since, as the source keeps time; 0: all of it. Some
                                more may come */
    uint64_t newest;         /* of each lane the newest so many at most; 0: all */
    void *cookie;
    /* A message, those of a lane in order, with all of its headers. Borrowed within the call, as are
     * `lane` and its names; cookies and handles mean nothing. Non-zero: it was enough. */
    int (*see)(void *cookie, const struct sluice_lane *lane, const struct sluice_message *message,
               const struct sluice_header *headers, size_t header_count);
    /* Something cannot be read: what, and the cure. */
    void (*fail)(void *cookie, const char *text);

    /* The rest is 1.2, read only where the host's `abi_minor` is 2 or more. */

    /* Called before anything is taken from a source where a look leaves a trace, once for each queue: what
     * will change for this very one, and who notices, in sentences. `may_lose`: a message may be dropped
     * there, or moved elsewhere, as it is given back. 0: go on; else nothing is taken from it. NULL: only
     * what leaves no trace may be read. */
    int (*allow)(void *cookie, bool may_lose, const char *text);
    /* Asked several times a second. True: give back what was taken, and end. NULL: never. */
    bool (*stopped)(void *cookie);
    /* Something to know about what was read, as how much was not. */
    void (*note)(void *cookie, const char *text);
    /* How much of a queue is taken at most, where that leaves a trace: all that was taken is given back
     * together at the end. The last message may reach beyond the bytes. Not 0 */
    uint64_t most_messages;
    size_t most_bytes;
};

/* ---- the connector ---- */
struct sluice_connector {
    uint32_t magic; /* SLUICE_ABI_MAGIC */
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    uint32_t capabilities;
    const char *name;        /* [a-z0-9-]+, as in `source: { NAME: ... }` and the file's name */
    const char *version;     /* the connector's own */
    const char *description; /* one line, with the library and its version */
    const struct sluice_option *options; /* ends with a NULL name */

    /* Checks the options and makes an instance, without network or threads, so that `sluice check`
     * can call it. 0, or non-zero after `refuse`, with nothing allocated. */
    int (*open)(struct sluice_host *host, const struct sluice_host_api *api,
                const struct sluice_values *values, void **ret_instance);

    /* Begins to connect. 0; or non-zero with a FAILED state reported, and the host tries again
     * later. `name` is how an operator recognises this consumer at the broker
     * (`sluice-orders-0@host`). */
    int (*start)(void *instance, const char *name);

    /* A descriptor that turns readable when `receive` would make progress; the same for the life of
     * the instance. The connector clears it within `receive`. */
    int (*descriptor)(void *instance);

    /* Makes progress: delivers up to `room`, reports events. Returns the microseconds after which it
     * wants to be called again even if the descriptor stays quiet; 0 if more is ready now. The host
     * calls it at least every two seconds whatever it returns, and a connector for 1.0 each second. */
    int64_t (*receive)(void *instance, const struct sluice_room *room);

    /* Settles. Never blocks: the connector takes note, `settled` tells of durability. Items of lost
     * lanes get result 1. */
    void (*settle)(void *instance, struct sluice_settle_item *items, size_t count);

    /* Frees the memory of messages. */
    void (*release)(void *instance, void *const *handles, size_t count);

    /* Writes up to `room` headers of an unreleased message and returns how many there are in all.
     * They are valid as long as the message. */
    size_t (*headers)(void *instance, void *handle, struct sluice_header *ret_headers, size_t room);

    /* Renews leases so that they last `lease_us` from now. Only with SLUICE_CAN_EXTEND. */
    void (*extend)(void *instance, void *const *handles, size_t count, int64_t lease_us);

    /* Stops or resumes delivery of one lane; a bounded number of messages already fetched may still
     * arrive. Only with SLUICE_CAN_PAUSE_LANE. Calling it twice with the same value is fine. */
    void (*pause_lane)(void *instance, void *lane, bool paused);

    /* After `lane_closing`: the host has nothing of the lane in flight any more. */
    void (*lane_drained)(void *instance, void *lane);

    /* Publishes; `published` follows. Only with SLUICE_CAN_PUBLISH. Non-zero: refused (queue full),
     * `published` does not follow, try again after the next `receive`. */
    int (*publish)(void *instance, const struct sluice_publication *publication);

    /* The lane's lag, from what the connector knows without asking the network. */
    void (*lag)(void *instance, void *lane, struct sluice_lag *ret_lag);

    /* No new messages; gives lanes back after flushing settlements, then reports `stopped`, at the
     * latest after `deadline_us` from now. Called once more where it is to hurry. */
    void (*stop)(void *instance, int64_t deadline_us);

    /* Frees everything. Lanes still open are reported lost first. */
    void (*close)(void *instance);

    /* Tries the real thing for `sluice check --connect`: may block up to the deadline. Called on an
     * instance that was opened and not started. 0: all is well. */
    int (*check)(void *instance, const struct sluice_check *check);

    /* 1.1. As `open`, for an instance that only publishes, to what its options name or to the
     * destination of each publication: options with SLUICE_OPTION_CONSUME may be unset, and mean
     * nothing. The other operations follow as after `open`, `receive` always without room. It joins and
     * takes nothing; its state says whether it can publish. `check` tries whether it could, without
     * publishing. NULL: the connector is no place for dead letters. */
    int (*open_publisher)(struct sluice_host *host, const struct sluice_host_api *api,
                          const struct sluice_values *values, void **ret_instance);

    /* 1.1. What an instance with these options can do, where options change it; what needs an operation must
     * be in `capabilities` as well. NULL: `capabilities`. */
    uint32_t (*capabilities_with)(const struct sluice_values_api *api,
                                  const struct sluice_values *values);

    /* 1.1. The whole source's lag, as `lag`, where its instances share what waits: the mapping's is the
     * largest that one of them tells. NULL: it is the sum of what `lag` says of all lanes. */
    void (*source_lag)(void *instance, struct sluice_lag *ret_lag);

    /* 1.1. Reads what was there when it began, and changes nothing: nothing is taken, no delivery is counted,
     * no place is remembered, and whoever receives there does not notice. With SLUICE_BROWSE_LEAVES_TRACE it
     * may take messages, as `allow` permits, and gives all of them back before it returns; where the process
     * is killed meanwhile the source has them back by itself. May block up to the deadline. Called on an
     * instance that was opened, to receive or only to publish, and not started. 0; -1 where `fail` was told.
     * Only with SLUICE_CAN_BROWSE. */
    int (*browse)(void *instance, const struct sluice_browse *browse);
};

/* Returns the static descriptor of a plugin; the only symbol a plugin exports. */
typedef const struct sluice_connector *(*sluice_connector_fn)(void);

#define SLUICE_CONNECTOR_SYMBOL "sluice_connector"

/* Put once into a connector: SLUICE_CONNECTOR(my_descriptor) */
#define SLUICE_CONNECTOR(descriptor)                                                               \
    __attribute__((visibility("default"))) const struct sluice_connector *sluice_connector(void);  \
    const struct sluice_connector *sluice_connector(void)                                          \
    {                                                                                              \
        return &(descriptor);                                                                      \
    }

#ifdef __cplusplus
}
#endif
#endif
