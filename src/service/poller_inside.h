/* SPDX-License-Identifier: MIT
 * What the files of the poller share. Nothing else includes it. */
#ifndef SERVICE_POLLER_INSIDE_H
#define SERVICE_POLLER_INSIDE_H

#include <pthread.h>

#include "base/rate.h"
#include "core/envelope.h"
#include "core/token.h"
#include "core/trace.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/parked_store.h"
#include "io/token_store.h"
#include "service/lot.h"
#include "service/options.h"
#include "service/poller.h"

struct sluice_host {
    struct poller *poller;
};

/* One HTTP request in flight. Kept for reuse with its memory. */
struct invocation {
    struct invocation *next;   /* idle, or refused */
    struct invocation *older;  /* all that were made */
    struct poller *poller;
    struct batch *batch;
    struct buffer body;
    struct buffer headers; /* texts, one after the other */
    const char *header_texts[8];
    int64_t sent_wall_us;
    bool reached; /* the function may have run */
    struct trace_parent trace; /* which it is a span of */
    struct span *span;         /* to be sent; NULL: none */
    char refusal[256]; /* why it could not be sent at all */
};

/* Messages that the recorder works on. */
struct recording {
    struct record_job job; /* first: replies are cast back */
    struct message_list messages;
    struct token_record *tokens;
    size_t token_room;
    struct lane_record *lanes;
    struct dead_letter *letters;
    struct parked *rows;
    int64_t *numbers;     /* of rows to be removed */
    size_t number_room;
    size_t orphan_count;  /* of them, the first ones: of messages that come again */
    struct buffer values; /* and names of the lanes */
    bool busy;            /* at the recorder */
    bool failing;         /* the last try failed: wait for retry_us, then submit as it is */
    int64_t retry_us;
    int64_t told_us;
};

/* What a poller has to do with the park, see poller_park.c. */
struct poller_park {
    struct lot *lot;            /* of the mapping; NULL: nothing is parked */
    bool feeds;                 /* takes out what is due; one poller of a mapping does */
    bool must;                  /* something was parked that had to be, room or not */
    struct parked_store *store; /* to read; NULL until it is needed */
    struct park_lane *lanes;
    size_t lane_count;
    size_t out, out_bytes;      /* taken out and not settled */
    bool more;                  /* more was due than there was room for */
    int64_t retry_us;           /* the store could not be read: try again then */
    int64_t told_us;            /* that it is full */
    int64_t *orphans;           /* rows to be removed: their messages come again from the source */
    size_t orphan_count, orphan_room;
};

struct poller {
    struct poller_context context;
    const struct mapping *mapping;
    const struct sluice_connector *connector;
    struct sluice_host host;
    void *instance;
    int64_t start_us;     /* when to try to start it again */
    uint32_t start_tries;
    bool started;         /* the connector */

    struct loop *loop;
    struct http_client *client;
    struct engine *engine;
    struct token_rule *token_rule;
    struct token_reader *reader;
    struct mailbox mailbox;
    struct envelope_context envelope;
    char *servers;
    struct random random;
    struct claim_waiter *unread; /* messages whose token could not be looked up */
    struct claim_waiter *waiter; /* memory for the next that waits; NULL: none yet */
    uint64_t held_told;         /* bytes, to the allowance */
    int64_t memory_told_us;     /* that there is no more */
    int64_t deliveries_told_us; /* that a message was delivered often */
    int64_t token_retry_us; /* the token store could not be read: try again then */

    struct invocation *newest;
    struct invocation *idle;
    struct invocation *refused; /* could not be sent */
    struct envelope_record *records; /* scratch */
    size_t record_room;
    struct sluice_header *headers; /* scratch */
    size_t header_room;
    struct buffer tokens; /* scratch */
    struct buffer unescaped; /* scratch of the filter */
    bool *named;          /* scratch, with record_room */

    struct recording finished, dead, parked;
    struct poller_park park;
    bool lanes_to_record;
    /* Given to the connector together, before lanes can come or go. */
    struct sluice_settle_item settle[128];
    size_t settle_count;
    void *release[256]; /* after they are settled */
    size_t release_count;

    int64_t receive_us; /* when the connector wants to be called again */
    int64_t stop_us;      /* within what it was asked to stop */
    int64_t stop_most_us; /* when to close it though it has not stopped */
    bool readable; /* its descriptor fired, or it said there is more */
    bool muted;    /* the descriptor is not watched: there is no room */
    bool stopping, stopped, paused;
    /* Written by others; in words of their own, as the flags above are read all at once. */
    _Atomic int64_t drain_us;
    atomic_uint cap; /* of invocations in flight, an operator's; 0: none */
    atomic_bool stop_asked, pause_asked, resume_asked, ended;

    pthread_t thread;
    bool running;
    pthread_mutex_t status_lock;
    struct poller_status status;  /* shared, under the lock */
    struct poller_status present; /* the poller's own */
    /* The same two of the lanes, an entry for each place of the book and one for all others; NULL
       without places. */
    struct poller_lane *lanes, *present_lanes;
    int64_t status_us;
    struct rate received_rate, done_rate;
};

/* poller_host.c */
extern const struct sluice_host_api poller_host_api;
/* Whether finished positions are recorded, and believed when a lane opens again. Only where the
 * source names the same message by the same position for ever: with other sources (delivery tags,
 * receipts) positions begin again, and a new message would pass for a finished one. Neither for
 * letters, whose positions belong to their source. */
bool poller_keeps_positions(const struct poller *poller);
/* Whether they are all that says where a lane goes on (SLUICE_NEEDS_POSITION). */
bool poller_is_memory(const struct poller *poller);

/* poller_engine.c */
extern const struct engine_ops poller_engine_ops;
void poller_settle_all(struct poller *poller);
void poller_release_all(struct poller *poller);

/* poller_watch.c */
/* Takes note of something that went wrong, of an invocation that ended, for the status. */
void poller_watch_error(struct poller *poller, const char *text);
void poller_watch_outcome(struct poller *poller, const struct invocation *invocation,
                          const struct batch *batch, const struct outcome *outcome);
void poller_watch_received(struct poller *poller, const struct sluice_message *messages,
                           size_t count);
/* Gives a lane its place in the metrics, and takes it back. */
void poller_watch_opened(struct poller *poller, struct lane *lane);
void poller_watch_lost(struct poller *poller, struct lane *lane);
/* Fills in what is measured over time. */
void poller_watch_fill(struct poller *poller, int64_t now_us);

/* poller_tap.c */
/* Tells those who watch what became of each message of an invocation, before the engine judges; and of
 * one that was not invoked. `outcome` is static. */
void poller_tap_outcome(struct poller *poller, const struct batch *batch,
                        const struct outcome *outcome);
void poller_tap_message(struct poller *poller, const struct message *message, const char *outcome,
                        bool failed, const char *why);

/* poller_trace.c */
/* Decides on the trace of an invocation of poller->records, and writes its headers. */
void poller_trace_begin(struct poller *poller, struct invocation *invocation, size_t count);
void poller_trace_end(struct poller *poller, struct invocation *invocation,
                      const struct batch *batch, const struct outcome *outcome);

/* poller_invoke.c */
void poller_invoke(void *argument, struct batch *batch);
/* Answers what could not even be sent. */
void poller_answer_refused(struct poller *poller);
void poller_free_invocations(struct poller *poller);

/* poller_record.c */
void poller_record(struct poller *poller, int64_t now_us);
/* Takes a reply if it is one of ours. */
bool poller_recorded(struct poller *poller, struct mailbox_item *item, int64_t now_us);
/* When to call poller_record again though nothing happens. */
int64_t poller_record_again_us(const struct poller *poller);
bool poller_recording(const struct poller *poller);
void poller_free_recordings(struct poller *poller);

/* Writes the message's headers to poller->headers from `used` on, and returns how many. */
size_t poller_collect_headers(struct poller *poller, const struct message *message, size_t used);

/* The message's headers, from where it is: up to `room`; returns how many there are. */
size_t poller_headers(struct poller *poller, const struct message *message,
                      struct sluice_header *ret, size_t room);
void poller_submit(struct poller *poller, struct recording *recording);
/* The message as its dead letter has it, in memory of its own: the payload goes back to the connector
 * when the lane is lost, while the writer works on it. */
void poller_make_letter(struct poller *poller, const struct message *message,
                        struct dead_letter *letter);
void poller_free_letter(struct dead_letter *letter);

/* poller_park.c, for the engine, see struct engine_ops */
bool poller_park(void *argument, struct message *message, int64_t delay_us, bool follows);
enum park_answer poller_parked(void *argument, const struct message *message);
bool poller_park_precedes(void *argument, const struct lane *lane, bool waiting);
void poller_park_begins(void *argument, const struct message *message);
void poller_unpark(void *argument, struct message *message, bool written);
void poller_release_parked(void *argument, void *handle);

void poller_park_init(struct poller *poller);
void poller_park_fini(struct poller *poller);
/* Whether the park has another message of that token with this payload (CLAIM_RECORDED) or another one
 * (CLAIM_CONFLICT), else CLAIM_MINE. */
enum claim poller_park_claim(struct poller *poller, const struct message *message);
size_t poller_park_headers(const void *handle, struct sluice_header *ret, size_t room);
/* The verdict on a message from the park is durable. */
void poller_park_settle(struct poller *poller, const struct message *message);
/* Takes out what is due. */
void poller_park_feed(struct poller *poller, int64_t now_us);
/* When to do so again though nothing happens. */
int64_t poller_park_again_us(const struct poller *poller, int64_t now_us);
/* How many messages may be received at once, for the park's sake: none or few where what follows parked
 * messages could not be parked. */
size_t poller_park_receives(const struct poller *poller);
/* Begins to give lanes back, and whether what was in flight has landed. */
void poller_park_close(struct poller *poller);
bool poller_park_drained(const struct poller *poller);
/* What is still out goes back; what is to be removed is submitted. */
void poller_park_end(struct poller *poller);
/* Submits what is to be parked. */
void poller_park_record(struct poller *poller, struct recording *recording);
void poller_park_free_rows(struct recording *recording);
/* Fills in the rows that go with messages that are finished, and returns how many. */
size_t poller_park_list_done(struct poller *poller, struct recording *recording);

/* poller_memory.c */
/* Keeps `room` within what is left of the memory of all. Who has nothing to invoke may take a batch whatever
 * others hold, and who waits for a witness may take one: else what fills the memory could be what waits. */
void poller_memory_bound(const struct poller *poller, struct sluice_room *room);
/* Tells how much it holds; and that it holds nothing any more. */
void poller_memory_tell(struct poller *poller);
void poller_memory_end(struct poller *poller);
/* Whether it is held back though it has little itself. That is logged here. */
bool poller_memory_short(struct poller *poller, int64_t now_us);

/* poller_filter.c */
enum filter_answer poller_filter(void *argument, const struct message *message, struct fault *why);

/* poller_collect.c */
/* Makes a letter about a message that something else gave up on one about the message as it was. */
void poller_collect(struct poller *poller, const struct message *message,
                    struct dead_letter *letter);

/* poller_claim.c */
enum claim poller_claim(void *argument, struct message *message);
void poller_unclaim(void *argument, struct message *message);
/* Looks up again what could not be looked up. */
void poller_claim_retry(struct poller *poller);
void poller_claim_answered(struct poller *poller, struct mailbox_item *item);

#endif
