/* SPDX-License-Identifier: MIT
 * What the files of the publisher share. Nothing else includes it. */
#ifndef SERVICE_PUBLISHER_INSIDE_H
#define SERVICE_PUBLISHER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include <sluice/connector.h>

#include "core/letter_story.h"
#include "io/loop.h"
#include "service/park.h"
#include "service/publisher.h"

struct sluice_host {
    struct publisher *publisher;
};

enum parcel_state {
    PARCEL_WAITING, /* to be sent, once it is time */
    PARCEL_SENT,    /* at the connector */
    PARCEL_TO_KEEP, /* it does not fit: to go to the state directory */
    PARCEL_KEEPING, /* at the recorder */
    PARCEL_DONE
};

/* One letter on its way. */
struct parcel {
    struct dead_letter *letter; /* of the job */
    struct task *task;
    enum parcel_state state;
    bool kept;               /* in the state directory: only a pointer to it is still to be sent */
    char *why;               /* it is to be kept, until it is; else NULL */
    struct letter_story story; /* while it is sent */
    struct buffer body;        /* where the format is not the message itself */
};

/* One job. */
struct task {
    struct task *next;
    struct record_job *job;
    struct parcel *parcels; /* one for each letter */
    size_t left;            /* not yet done */
    int64_t since_us;
};

struct publisher {
    const struct mapping *mapping;
    const struct letters_to *to;
    struct recorder *recorder;
    struct letter_place place;
    char *target, *servers, *host_name;
    const struct sluice_connector *connector;
    struct sluice_host host;
    void *instance; /* NULL: closed */
    bool started;
    int64_t start_us, receive_us;

    struct loop *loop;
    struct mailbox mailbox;
    struct task *tasks, **tasks_end;
    struct parcel *keeping; /* at the recorder; NULL: none */
    struct record_job keep_job;
    struct dead_letter keep_letter;
    int64_t keep_us;   /* not before */
    int64_t retry_us;  /* nothing is sent before */
    unsigned failures; /* in a row */
    bool failing;      /* the last that was heard of a letter is an error: `error` */
    char error[400];
    int64_t told_us; /* 0: it is not stuck */
    struct park *park;     /* NULL: none, and no lot */
    struct lot *lot;       /* the mapping's */
    struct burial *burial; /* under way; NULL: none */
    atomic_bool bury_asked;
    atomic_uint_fast64_t burying; /* under way, 0 once they are counted in `buried` */
    atomic_uint_fast64_t buried;  /* and not yet told */
    uint64_t sequence[2];

    atomic_bool stop_asked, finish_asked, ended;
    _Atomic int64_t stop_us;
    pthread_t thread;
    bool running;
    pthread_mutex_t status_lock;
    struct publisher_status status; /* shared, under the lock */
    uint64_t unreadable; /* so: of what was to be buried, all that is left; not yet told */
    struct fault unreadable_fault;
    struct publisher_status present;
};

/* publisher.c */
void publisher_take_job(struct publisher *publisher, struct record_job *job, int64_t now_us);
/* Any thread. */
void publisher_wake(struct publisher *publisher);
/* Keeps the text as the last error. */
void publisher_note_error(struct publisher *publisher, const char *text);

/* publisher_send.c */
extern const struct sluice_host_api publisher_host_api;
/* Sends what is due. */
void publisher_send(struct publisher *publisher, int64_t now_us);
/* Hands the next letter that does not fit to the recorder. */
void publisher_keep(struct publisher *publisher, int64_t now_us);
/* The recorder has answered. */
void publisher_kept(struct publisher *publisher, int64_t now_us);

/* publisher_bury.c */
/* Begins or goes on with what publisher_bury was asked for. */
void publisher_bury_turn(struct publisher *publisher, int64_t now_us);
/* Whether the item is a burial's that has been published, or taken out of the park. */
bool publisher_bury_answered(struct publisher *publisher, const struct mailbox_item *item,
                             int64_t now_us);

#endif
