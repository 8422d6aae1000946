/* SPDX-License-Identifier: MIT
 * The connector for HTTP queues, inside: one instance, and what its parts have of each other. All of it
 * runs on the instance's thread; nothing waits.
 *
 * A message's way: an answer to a receive -> its lane's row -> delivered -> settled or given back -> an
 * item -> a request -> freed. While it is in the row or with sluice its lease is renewed. */
#ifndef HTTP_H
#define HTTP_H

#include "dialect.h"
#include "wire.h"

#include <uthash.h>

#define HTTP_HELD_MOST    20000 /* messages that an instance holds */
#define HTTP_ITEMS_MOST   5000  /* unsettled settlements, beyond which nothing is received */
#define HTTP_RECEIVES_MOST 16   /* at a time */

struct http_config {
    const struct http_dialect *dialect;
    void *instance; /* the dialect's */
    struct http_abilities can;
    int64_t lease_us, poll_least_us, poll_most_us, timeout_us;
    unsigned receives;
    struct http_wire_options wire;
};

#define HTTP_CAN_LOOK (SLUICE_CAN_BROWSE | SLUICE_BROWSE_LEAVES_TRACE)
#define HTTP_CAPABILITIES                                                                          \
    (HTTP_CAN_LOOK | SLUICE_CAN_DELAY | SLUICE_CAN_PUBLISH | SLUICE_CAN_PAUSE_LANE | SLUICE_HAS_DELIVERY_COUNT |   \
     SLUICE_HAS_MESSAGE_ID | SLUICE_HAS_KEY | SLUICE_HAS_STABLE_IDENTITY)

/* `publishing`: for publishing only. NULL after refusals, or without memory. */
struct http_config *http_config_new(const struct sluice_host_api *api, const struct sluice_values *values,
                                    bool publishing);
void http_config_free(struct http_config *config);
/* As `capabilities_with` of struct sluice_connector. */
uint32_t http_capabilities(const struct sluice_values_api *api, const struct sluice_values *values);
extern const struct sluice_option http_options[];

/* What the server keeps in order: the messages of one key; those without are one lane. */
struct http_lane {
    UT_hash_handle hh;
    char *name; /* key of the table */
    void *cookie;
    struct http_message *first, *last; /* fetched, not delivered */
    size_t waiting, held;              /* in the row; with sluice */
    int64_t idle_us;                   /* since when both are 0 */
    bool keyed, paused, closing, drained;
};

/* What goes wrong and is tried again: receiving, settling, getting credentials. */
struct http_side {
    bool bad;
    unsigned failures; /* in a row */
    int64_t due_us;    /* not before */
    struct http_fault fault;
};

struct http_fetch; /* one receive under way */

struct http {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    struct http_config *config;
    struct http_wire *wire;
    int64_t now_us; /* of the present turn */
    struct http_side receiving, settling, credentials;
    bool asking; /* for credentials */
    bool publishes_only;
    bool running; /* an answer came, or is awaited for long */

    struct http_lane *lanes;
    struct http_message *first, *last; /* all whose lease is ours */
    size_t held_count, waiting_count, waiting_bytes, paused_count;
    uint64_t position;
    int64_t scan_us; /* when leases are looked at next */

    struct http_fetch *fetches;
    unsigned fetch_count, fetch_most; /* fetch_most: adapted to the backlog */
    size_t asked; /* messages that receives under way may bring */
    size_t newest_count;  /* messages that the newest answer brought */
    size_t message_bytes; /* of an answer for each of its messages, as seen so far; 0: unknown */
    int64_t poll_us, poll_due_us;
    int64_t backlog;  /* that wait at the server; -1: unknown */
    bool counting, count_told;
    int64_t count_us; /* when they are counted next */

    struct http_item *items, **items_end;
    size_t item_count, extension_count; /* of all, in requests too; extensions among them */
    struct http_settling *settlings; /* requests under way */
    unsigned settling_count;

    struct http_publishing *publishings;
    unsigned publishing_count;

    bool stopping, flushed, stopped;
    int64_t stop_deadline_us, stop_flush_us;
    int64_t quiet_us; /* while stopping: when there was something to settle last */
};

int64_t http_now(void);

/* ---- ask.c: requests with credentials, and how the server is ---- */

/* Whether requests can be made now; begins to get credentials where they are missing. */
bool http_may_ask(struct http *http);
/* Signs and sends; the request is taken over. -1: no memory. */
int http_ask(struct http *http, struct http_request *request, int64_t timeout_us,
             http_wire_done_fn done, void *argument);
/* 0 where the answer's status is 2xx, else -1 with a fault. */
int http_judge(struct http *http, const struct http_reply *reply, struct http_fault *fault);
void http_failed(struct http *http, struct http_side *side, const struct http_fault *fault,
                 int64_t retry_after_us);
void http_worked(struct http *http, struct http_side *side);

/* ---- fetch.c: receiving ---- */

/* Begins receives where there is room. Returns when it wants to be called again. */
int64_t http_fetch(struct http *http, const struct sluice_room *room);
/* Ends those under way: all if `all`, else those that the server holds open although it had a moment since
 * they began and since the last settlement to answer them. What one that was given up brings would be leased
 * to nobody. */
void http_fetch_end(struct http *http, bool all);

/* ---- count.c: what waits at the server ---- */

/* Asks for it now and then, where receives do not tell. Returns when it wants to be called again. */
int64_t http_count(struct http *http);

/* ---- hold.c: lanes, and messages while they are ours ---- */

/* The message as the host has it, without lane and handle. */
void http_message_convert(const struct http_message *from, struct sluice_message *to);
/* The lane of messages with this key. */
void http_lane_name(const char *source, struct sluice_bytes key, char *ret, size_t room);
/* Takes a message that was received over. */
void http_hold(struct http *http, struct http_message *message);
/* Hands out what waits. Whether more is ready. */
bool http_deliver(struct http *http, const struct sluice_room *room);
/* sluice settled it, or has done with it. */
void http_let_go(struct http *http, struct http_message *message);
/* Renews leases, forgets what ran out, closes lanes that are idle. Returns when again. */
int64_t http_watch(struct http *http);
void http_lane_lose(struct http *http, struct http_lane *lane);
/* The row's messages go back to the server. */
void http_lane_give_back(struct http *http, struct http_lane *lane);

/* ---- settle.c: acknowledging, giving back, extending ---- */

/* Adds an item; the message is freed when nothing is about it any more and sluice has done with it. */
void http_settle_add(struct http *http, struct http_message *message, enum http_action action,
                     int64_t seconds);
/* Sends what is due. Returns when again. */
int64_t http_settle_turn(struct http *http);
/* Whether everything asked for was answered. */
bool http_settle_flushed(const struct http *http);
void http_settle_free(struct http *http);
/* Frees the message if nobody needs it. */
void http_message_done(struct http_message *message);

/* ---- publish.c ---- */

/* As `publish` of struct sluice_connector. */
int http_publish(struct http *http, const struct sluice_publication *publication);
/* Tells of those that could not even be sent. */
void http_publish_turn(struct http *http);
void http_publish_give_up(struct http *http);

/* ---- check.c ---- */

/* As `check` of struct sluice_connector; waits. */
int http_check(struct http *http, const struct sluice_check *check);
/* For operations that wait: turns until the time is over or `done` holds. */
void http_turn_until(struct http *http, int64_t until_us, const bool *done);
/* Until there are credentials; else false with http->credentials.fault. */
bool http_wait_credentials(struct http *http, int64_t until_us);

/* ---- browse.c ---- */

/* As `browse` of struct sluice_connector; waits. */
int http_browse(struct http *http, const struct sluice_browse *browse);

#endif
