/* SPDX-License-Identifier: MIT
 * Spans as OpenTelemetry's protocol has them: OTLP/HTTP 1.x in JSON, with the semantic conventions of
 * messaging 1.27 and later. */
#ifndef IO_OTLP_H
#define IO_OTLP_H

#include <stddef.h>
#include <stdint.h>

#include "core/trace.h"

/* An ExportTraceServiceRequest of all of them, linked by `item.next`: to be freed. `host` names this
 * machine. */
char *otlp_write(const struct span *first, const char *host);

/* How many spans an ExportTraceServiceResponse says were rejected; 0 also where it is none. */
uint64_t otlp_rejected(const char *body, size_t size);

#endif
