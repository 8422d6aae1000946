/* SPDX-License-Identifier: MIT
 * Messages and what they are made of, as connectors and the host exchange them. */
#ifndef SLUICE_MESSAGE_H
#define SLUICE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that belong to somebody else. `data == NULL` means absent (a null key, a tombstone), which
 * is not the same as present and empty (`data != NULL`, `size == 0`). Not NUL-terminated. */
struct sluice_bytes {
    const void *data;
    size_t size;
};

/* One header of a message. Names may repeat; order is kept; values may be absent or binary. */
struct sluice_header {
    struct sluice_bytes name;
    struct sluice_bytes value;
};

/* What a message's timestamp means. Kept as fixed-width integers in the structs below. */
enum sluice_timestamp_kind {
    SLUICE_TIMESTAMP_NONE = 0,       /* the source has none */
    SLUICE_TIMESTAMP_CREATED = 1,    /* set by the producer */
    SLUICE_TIMESTAMP_APPENDED = 2    /* set by the broker */
};

/* One message handed from a connector to the host (see `deliver` in struct sluice_host).
 * `key`, `payload`, `identity` and `message_id` stay valid until the host calls `release` with
 * `handle`, which it does exactly once for every message delivered, settled or not. */
struct sluice_message {
    void *lane;                     /* the host's cookie for the lane, from `lane_opened` */
    void *handle;                   /* the connector's cookie; unique among unreleased messages */
    uint64_t position;              /* strictly growing within a lane, from `lane_opened` to
                                       `lane_lost`; need not be dense; see SLUICE_CAN_SETTLE_UP_TO */
    struct sluice_bytes key;        /* absent where the message has none */
    struct sluice_bytes payload;    /* absent for a tombstone */
    struct sluice_bytes identity;   /* the broker's stable name of this very message, where lane and
                                       position do not name it across redeliveries; else absent */
    struct sluice_bytes message_id; /* the producer's id of the message, where the source has one */
    int64_t timestamp_ms;           /* milliseconds since the Unix epoch; 0 with kind NONE */
    uint32_t timestamp_kind;        /* enum sluice_timestamp_kind */
    uint32_t delivery_count;        /* earlier deliveries as the source counts them; 0 if unknown */
    uint32_t has_headers;           /* 0: `headers` would return none, so the host need not ask */
    uint32_t endangered;            /* 1.1. Not 0: delivered a few more times, to whomever, it is dropped or
                                       moved away by the source: the host keeps it as soon as it can */
};

#ifdef __cplusplus
}
#endif
#endif
