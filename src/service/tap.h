/* SPDX-License-Identifier: MIT
 * A live sample of what becomes of a mapping's messages, for those who watch. Pollers offer, the control
 * server looks. While nobody looks a poller pays for one comparison; while somebody does, it copies so
 * many messages a second and no more, and never waits: what does not fit, or comes while another thread
 * is inside, is only counted. */
#ifndef SERVICE_TAP_H
#define SERVICE_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/message.h>

#include "base/clock.h"

#define TAP_ENTRIES 512                /* kept for those who look */
#define TAP_RATE    200                /* taken a second; as many again that failed */
#define TAP_PAYLOAD 4096               /* bytes of a payload */
#define TAP_TEXT    256                /* bytes of a key, token, lane's name, error */
#define TAP_OPEN_US (5 * CLOCK_SECOND) /* it stays open so long after somebody looked */

/* What somebody wants to see. */
enum tap_wish {
    TAP_FAILED = 1,  /* what failed */
    TAP_ALL = 2,     /* all else too */
    TAP_PAYLOADS = 4 /* with payloads */
};

/* One message and one thing that happened to it. All is borrowed. */
struct tap_event {
    int64_t wall_us;
    const char *outcome; /* a word, static */
    bool failed;
    const char *lane;
    const char *error;   /* NULL: none */
    struct sluice_bytes token, key, payload;
    uint64_t position;
    uint32_t attempt;    /* 0: it was not invoked */
    uint32_t messages;   /* in the invocation */
    uint32_t status;     /* 0: no HTTP answer */
    int64_t duration_us; /* of the invocation */
};

struct tap_entry {
    struct tap_event event; /* into this entry's own memory, texts cut to TAP_TEXT */
    uint64_t number;        /* counts up */
    size_t payload_size;    /* of all of it; event.payload may be cut, and is empty without TAP_PAYLOADS */
    char memory[];
};

struct tap;

struct tap *tap_new(void);
void tap_free(struct tap *tap); /* NULL is fine */

/* Any thread: what is wanted now, enum tap_wish; 0: nobody looks. */
unsigned tap_wishes(const struct tap *tap, int64_t now_us);
/* Any thread, never waits. */
void tap_offer(struct tap *tap, const struct tap_event *event, int64_t now_us);

/* What a look found. */
struct tap_look {
    uint64_t next;    /* to look after, the next time */
    uint64_t dropped; /* that were not taken, since the tap was made: of those that failed, or of all */
    uint64_t missed;  /* of those taken after `after`, gone before this look */
};

/* Any thread: opens the tap for a while, and calls `see` for the entries numbered above `after` that are
 * wanted, at most `most` of them; `after` UINT64_MAX: from now on. Pollers drop what they offer
 * meanwhile, so `see` is quick. */
void tap_look(struct tap *tap, unsigned wishes, uint64_t after, size_t most, int64_t now_us,
              void (*see)(void *argument, const struct tap_entry *entry), void *argument,
              struct tap_look *ret_look);

/* Frees what is kept where nobody looks any more. Any thread; cheap. */
void tap_tidy(struct tap *tap, int64_t now_us);

#endif
