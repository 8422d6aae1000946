/* SPDX-License-Identifier: MIT
 * The metrics of the service in Prometheus' text format 0.0.4 or OpenMetrics 1.0. Their number is
 * bounded: each series is of the service, or of one mapping, or of one mapping and one of a few fixed
 * states, or of one of so many lanes of a mapping (`metrics.lanes`). */
#ifndef SERVICE_METRICS_H
#define SERVICE_METRICS_H

#include "base/buffer.h"
#include "service/replays.h"
#include "service/supervisor.h"

enum metrics_format { METRICS_TEXT, METRICS_OPENMETRICS };

/* What an Accept header asks for: OpenMetrics where it is named and liked no less than text; else text,
 * also for NULL and wildcards. */
enum metrics_format metrics_choose(const char *accept);
const char *metrics_content_type(enum metrics_format format);

/* Appends all of them. Any thread. */
void metrics_write(struct supervisor *supervisor, struct replays *replays,
                   enum metrics_format format, struct buffer *buffer);

#endif
