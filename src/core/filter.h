/* SPDX-License-Identifier: MIT
 * Which messages a mapping takes: patterns in the syntax of Amazon EventBridge and of AWS's event source
 * mappings, over a message's payload, key, headers and origin.
 *
 *   - value: { status: [paid], total: [{ numeric: [">", 0] }] }      the payload, as JSON
 *     headers: { region: [{ prefix: eu- }] }
 *   - key: [{ anything-but: test }]                                  the key, as text
 *
 * A message passes if one of the patterns matches: all fields of a pattern must match, one entry of a
 * field's list is enough. Entries: text, number, true, false, null; or one of exists, prefix, suffix,
 * equals-ignore-case, anything-but, numeric, wildcard, cidr. `$or` holds alternatives. Fields are
 * value, key, headers, source (topic or queue), partition and timestamp (ms). */
#ifndef CORE_FILTER_H
#define CORE_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <sluice/message.h>

#include "base/buffer.h"
#include "base/fault.h"

#define FILTER_PATTERNS_MOST 32
#define FILTER_FIELDS_MOST   64 /* of one object of a pattern */
#define FILTER_DEPTH_MOST    32

struct filter; /* compiled; read-only, so any number of threads may share it */

/* What patterns look at. All is borrowed. */
struct filter_message {
    struct sluice_bytes key, payload;
    const struct sluice_header *headers;
    size_t header_count;
    const char *source; /* topic or queue */
    int32_t partition;  /* -1: none */
    bool has_timestamp;
    int64_t timestamp_ms;
};

enum filter_match {
    FILTER_NO,
    FILTER_YES,
    FILTER_UNTOLD /* a pattern looks into a payload or key as JSON, and it is none, or to tell would
                     take too long */
};

/* Compiles one pattern or a list of them. NULL with a fault, and `ret_where` (may be NULL) the part of
 * `patterns` that is to blame. */
struct filter *filter_compile(const json_t *patterns, struct fault *fault,
                              const json_t **ret_where);
/* The same of a pattern for payloads alone, as a text. */
struct filter *filter_compile_payload(const char *pattern, struct fault *fault);
void filter_free(struct filter *filter); /* NULL is fine */
/* Whether it looks at headers: else they need not be given. */
bool filter_reads_headers(const struct filter *filter);
size_t filter_patterns(const struct filter *filter);

/* `scratch` is for texts with escapes; its contents are lost. With FILTER_UNTOLD the fault says why. */
enum filter_match filter_try(const struct filter *filter, const struct filter_message *message,
                             struct buffer *scratch, struct fault *why);

#endif
