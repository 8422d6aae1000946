/* SPDX-License-Identifier: MIT
 * Values of JSON (jansson) from what sluice has at hand. */
#ifndef IO_JSON_VALUE_H
#define IO_JSON_VALUE_H

#include <stdint.h>

#include <jansson.h>

/* A string, whatever bytes `text` has: what is not UTF-8 becomes U+FFFD. NULL and "" are null. A new
 * reference. */
json_t *json_value_text(const char *text);

/* RFC 3339 in UTC with milliseconds, as 2026-11-23T10:02:03.500Z; null for 0. A new reference. */
json_t *json_value_time(int64_t wall_us);

/* A number; as text above INT64_MAX, where jansson's end, which Kafka's offsets never reach. A new reference. */
json_t *json_value_unsigned(uint64_t number);

#endif
