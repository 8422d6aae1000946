/* SPDX-License-Identifier: MIT
 * The metrics of the service in Prometheus' text format 0.0.4. Their number is bounded: each series is
 * of the service, or of one mapping, or of one mapping and one of a few fixed states. */
#ifndef SERVICE_METRICS_H
#define SERVICE_METRICS_H

#include "base/buffer.h"
#include "service/supervisor.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all of them. Any thread. */
void metrics_write(struct supervisor *supervisor, struct buffer *buffer);

#endif
