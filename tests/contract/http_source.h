/* SPDX-License-Identifier: MIT
 * A strict server of Google Pub/Sub's API as a source: what all dialects of HTTP queues share is tested by
 * one of them, whose messages have headers and any bytes. */
#ifndef HTTP_SOURCE_H
#define HTTP_SOURCE_H

#include "source.h"

extern const struct source_kind http_kind;

#endif
