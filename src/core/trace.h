/* SPDX-License-Identifier: MIT
 * Traces: what producers tell of theirs (W3C Trace Context, `traceparent`), and what is told of an
 * invocation. */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"

#define TRACE_FLAG_SAMPLED 1u

/* A span of somebody's, by name. */
struct trace_parent {
    char trace_id[33]; /* 32 lower-case hex digits */
    char span_id[17];  /* 16 */
    uint8_t flags;
};

/* Reads the value of a traceparent header: as section 3.2 of W3C Trace Context wants it, of higher
 * versions what is known of them. False: it is none, and counts as absent. */
bool trace_read(const void *value, size_t size, struct trace_parent *ret_parent);

/* Whether a trace is among the share of `ratio` (0..1) that is kept: by its id alone, so that all who
 * decide so decide alike (OpenTelemetry's TraceIdRatioBased). */
bool trace_is_kept(const char trace_id[33], double ratio);

#define SPAN_LINKS 128 /* of one span; more are counted */

/* One invocation, for OpenTelemetry. One block of memory. */
struct span {
    struct mailbox_item item; /* first: it travels by mailbox */
    struct trace_parent self;
    char parent_id[17]; /* "": it begins its trace */
    int64_t start_wall_us, end_wall_us;
    char mapping[64];
    char system[32];       /* kafka, rabbitmq, aws_sqs, gcp_pubsub... */
    char destination[256]; /* topic or queue; "": several */
    char group[256];       /* of consumers; "": none */
    int32_t partition;     /* -1: several, or none */
    uint32_t messages;
    uint32_t attempt; /* of the first message */
    uint32_t status;  /* 0: no HTTP answer */
    uint32_t named;   /* messages that the function named as failed */
    bool batched;     /* there could have been several messages */
    bool failed;
    char outcome[16];
    char error[200];
    uint32_t links_dropped, link_count;
    struct trace_parent links[]; /* the messages' producers */
};

#endif
