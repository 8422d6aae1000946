/* SPDX-License-Identifier: MIT
 * The rules of a mapping, as configuration reads them and core/ obeys them. Times in microseconds. */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum order { ORDER_LANE, ORDER_KEY, ORDER_NONE };

/* A batch closes on whichever comes first. */
struct batch_settings {
    uint32_t size;     /* messages, 1..10000 */
    size_t bytes;      /* of keys and payloads; a larger message goes alone */
    int64_t window_us; /* since the oldest waiting message arrived; 0: do not wait */
};

enum token_source {
    TOKEN_POSITION,   /* lane and position, or the broker's identity of the message */
    TOKEN_MESSAGE_ID, /* the producer's id, as the source carries it */
    TOKEN_KEY,
    TOKEN_HEADER,  /* the first header of name `argument` */
    TOKEN_POINTER, /* JSON Pointer `argument` (RFC 6901) into the payload */
    TOKEN_HASH,    /* SHA-256 of the payload */
    TOKEN_IDENTITY /* the source's name for it (sluice_message.identity); a replay's letters bring theirs */
};
enum token_missing { TOKEN_MISSING_DEAD_LETTER, TOKEN_MISSING_POSITION };
enum token_conflict { TOKEN_CONFLICT_DEAD_LETTER, TOKEN_CONFLICT_INVOKE, TOKEN_CONFLICT_DROP };

struct token_settings {
    enum token_source source;
    char *argument; /* owned; NULL where the source takes none */
    int64_t ttl_us;
    enum token_missing on_missing;
    enum token_conflict on_conflict;
};

struct retry_settings {
    uint32_t attempts;         /* counted attempts of a single message before it is suspect, >= 1 */
    int64_t backoff_first_us;  /* `backoff: first..most`, full jitter */
    int64_t backoff_most_us;
    int64_t age_us;            /* since the message first failed; 0: no limit */
    int64_t patience_us;       /* how long a suspect waits for a witness; 0: every failure counts */
    int64_t probe_first_us;    /* `probe: first..most`, between probes of a paused target */
    int64_t probe_most_us;
    bool split;                /* a failing batch is tried again in halves */
    int64_t park_after_us;     /* a message that waits longer for its retry is parked; 0: never */
    size_t park_bytes;         /* of the mapping's parked messages */
};

struct concurrency_settings {
    uint32_t least, most; /* invocations in flight per poller; 1 <= least <= most <= 1000 */
};

enum envelope_format { ENVELOPE_LAMBDA, ENVELOPE_JSON, ENVELOPE_RAW };

struct rules {
    enum order order;
    struct batch_settings batch;
    struct token_settings token;
    struct retry_settings retry;
    struct concurrency_settings concurrency;
    enum envelope_format format;
    bool partial_response;      /* target.report_failures: obey batchItemFailures */
    uint32_t buffer_messages;   /* received and without a verdict, per poller */
    size_t buffer_bytes;
    uint32_t distance;          /* messages of a lane between the oldest unfinished and the newest */
};

#endif
