/* SPDX-License-Identifier: MIT
 * What the files of the poller share. Nothing else includes it. */
#ifndef SERVICE_POLLER_INSIDE_H
#define SERVICE_POLLER_INSIDE_H

#include <pthread.h>

#include "base/rate.h"
#include "core/envelope.h"
#include "core/token.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/token_store.h"
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
    struct buffer values; /* and names of the lanes */
    bool busy;            /* at the recorder */
    bool failing;         /* the last try failed: wait for retry_us, then submit as it is */
    int64_t retry_us;
    int64_t told_us;
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

    struct recording finished, dead;
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

/* poller_engine.c */
extern const struct engine_ops poller_engine_ops;
void poller_settle_all(struct poller *poller);
void poller_release_all(struct poller *poller);

/* poller_watch.c */
/* Takes note of something that went wrong, of an invocation that ended, for the status. */
void poller_watch_error(struct poller *poller, const char *text);
void poller_watch_outcome(struct poller *poller, const struct batch *batch,
                          const struct outcome *outcome);
/* Fills in what is measured over time. */
void poller_watch_fill(struct poller *poller, int64_t now_us);

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

/* poller_filter.c */
enum filter_answer poller_filter(void *argument, const struct message *message, struct fault *why);

/* poller_claim.c */
enum claim poller_claim(void *argument, struct message *message);
void poller_unclaim(void *argument, struct message *message);
/* Looks up again what could not be looked up. */
void poller_claim_retry(struct poller *poller);
void poller_claim_answered(struct poller *poller, struct mailbox_item *item);

#endif
