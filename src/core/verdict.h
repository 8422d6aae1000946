/* SPDX-License-Identifier: MIT
 * Outcome classes of an invocation, decided once at the edge; and what becomes of a message. */
#ifndef CORE_VERDICT_H
#define CORE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum outcome_class {
    OUTCOME_DONE,        /* 2xx; with a partial response some messages may have been named */
    OUTCOME_FAILED,      /* the function's fault, or the message's: counts */
    OUTCOME_THROTTLED,   /* 429: does not count */
    OUTCOME_UNAVAILABLE, /* not reached, 502-504: the target's fault, does not count */
    OUTCOME_POISON,      /* the target says it will never work: no further attempt */
    OUTCOME_FATAL        /* credentials or function missing: an operator is needed */
};

/* `done`, `failed`, `throttled`, `unavailable`, `poison`, `fatal`. */
const char *outcome_class_name(enum outcome_class class);

/* Class of an HTTP status that was received whole. 2xx: DONE; 3xx: POISON (redirects are not
 * followed); 401, 403, 404, 410: FATAL; 408, 409, 425: FAILED (409: the same token is in progress,
 * draft-ietf-httpapi-idempotency-key-header-07 section 2.6); 429: THROTTLED; other 4xx: POISON;
 * 502, 503, 504: UNAVAILABLE; 501 and other 5xx: FAILED. */
enum outcome_class outcome_of_status(uint32_t status);

/* What one invocation came to. Borrowed for the call it is passed to. */
struct outcome {
    enum outcome_class class;
    uint32_t status;        /* 0: no HTTP answer */
    int64_t retry_after_us; /* floor for the next try, 0: none */
    int64_t duration_us;
    int64_t sent_wall_us;
    const char *error;      /* one line for people; NULL when DONE */
    const char *excerpt;    /* start of the answer's body */
    size_t excerpt_size;
    const bool *named;      /* DONE only: which messages the function named as failed, in the
                               batch's order; NULL: none */
};

/* What becomes of a message. */
enum verdict {
    VERDICT_DONE = 1,
    VERDICT_FILTERED,
    VERDICT_DUPLICATE,
    VERDICT_DEAD,
    VERDICT_PARKED /* for now: it is in the park, and comes from there when its retry is due */
};

#endif
