/* SPDX-License-Identifier: MIT
 * The dialect `generic`: what a mapping says of a queue's API, read and checked. */
#ifndef GENERIC_H
#define GENERIC_H

#include "dialect.h"
#include "template.h"

#define GENERIC_HEADERS 32
#define GENERIC_TOGETHER 100 /* receipts in one call */

/* One call of the API. All zero: the mapping describes none. */
struct generic_call {
    const char *method; /* NULL: none */
    struct template url, body;
    bool has_body;
    char *content_type; /* of the body */
    bool together; /* several receipts in one call */
};

struct generic_header {
    char *name;
    struct template value;
};

struct generic {
    struct generic_call receive, acknowledge, release, extend, publish, check;
    struct generic_header headers[GENERIC_HEADERS];
    size_t header_count;
    /* JSON Pointers: `list` into an answer, the others into a message; NULL: none. */
    char *list, *id, *receipt, *body, *attempts, *key, *error, *new_receipt;
    bool base64; /* bodies are */
    char *secret, *source, *where;
    int64_t lease_s;
};

/* Reads the options; NULL after a refusal, or without memory. */
struct generic *generic_read(struct http_reader *reader, int64_t lease_us);
void generic_free(struct generic *generic);

#endif
