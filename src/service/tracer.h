/* SPDX-License-Identifier: MIT
 * Sends spans of invocations to OpenTelemetry, by OTLP/HTTP, on a thread of its own. Bounded, and never
 * waited for: what does not fit is dropped and counted. */
#ifndef SERVICE_TRACER_H
#define SERVICE_TRACER_H

#include <stdint.h>

#include "base/fault.h"
#include "core/trace.h"
#include "service/mapping.h"

#define TRACER_WAITING 2048 /* spans at most that wait to be sent */
#define TRACER_BATCH   512  /* that are sent together */

struct tracer;

struct tracer_stats {
    uint64_t sent, dropped;
};

/* The settings, which have a URL, are borrowed. NULL with a fault. */
struct tracer *tracer_start(const struct trace_settings *settings, struct fault *fault);
/* Sends what is left, for 2 s at most. Nobody offers any more. NULL is fine. */
void tracer_stop(struct tracer *tracer);

/* The share of traces that are kept where no producer decided. */
double tracer_ratio(const struct tracer *tracer);

/* Any thread, never waits: takes the span over, to be freed by free(). */
void tracer_offer(struct tracer *tracer, struct span *span);

/* Any thread. `tracer` NULL: all 0. */
struct tracer_stats tracer_stats(struct tracer *tracer);

#endif
