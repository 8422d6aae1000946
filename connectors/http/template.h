/* SPDX-License-Identifier: MIT
 * Texts of a mapping with places to fill in, for the dialect `generic`: `/messages/{id}`.
 * A placeholder is one of the names below in braces; braces around anything else are text. */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include <sluice/message.h>

#include "json_slice.h"

enum template_name {
    TEMPLATE_RECEIPT,     /* the receipt of a message */
    TEMPLATE_RECEIPTS,    /* those of several, as JSON values with commas between */
    TEMPLATE_ID,          /* the id of a message */
    TEMPLATE_DELAY,       /* seconds after which a released message shall come again */
    TEMPLATE_LEASE,       /* seconds that a message stays with us */
    TEMPLATE_COUNT,       /* how many messages are asked for */
    TEMPLATE_BODY,        /* a published message's payload */
    TEMPLATE_BODY_BASE64, /* the same in base64 */
    TEMPLATE_BODY_JSON,   /* the same, where it is JSON, as it is */
    TEMPLATE_KEY,         /* a published message's key */
    TEMPLATE_SECRET,      /* the mapping's secret */
    TEMPLATE_NAMES
};

/* Where the text goes, which decides how values are written: percent-encoded, as they are but without
 * control characters, as within a JSON string, percent-encoded, or as they are. */
enum template_place {
    TEMPLATE_URL,
    TEMPLATE_HEADER,
    TEMPLATE_JSON,
    TEMPLATE_FORM,
    TEMPLATE_RAW
};

#define TEMPLATE_PARTS 64 /* pieces of text and placeholders in one template, at most */

struct template_part {
    int name;         /* enum template_name, or -1: text */
    const char *text; /* within the template's own copy */
    size_t size;
};

struct template {
    enum template_place place;
    char *copy;
    struct template_part *parts;
    size_t count;
    unsigned uses; /* bits of enum template_name */
};

/* What is filled in. `receipts` and `id` are JSON values as the server wrote them; numbers are JSON
 * too. What a template does not use may be absent. */
struct template_values {
    const struct json_slice *receipts;
    size_t receipt_count;
    struct json_slice id;
    long long delay_s, lease_s, count;
    struct sluice_bytes body, key;
    const char *secret;
};

/* Reads a template in which the names of `allowed` (bits) may be used. 0; -1 with what was found and
 * expected, and nothing to be freed. */
int template_read(const char *text, enum template_place place, unsigned allowed,
                  struct template *ret_template, char *ret_problem, size_t room);

/* Also for one that is all zero. Wipes it where it held a secret. */
void template_free(struct template *template);

/* The text with all filled in, a NUL behind it; the caller frees it. NULL: it cannot be written, and
 * why. At most `most` bytes. */
char *template_fill(const struct template *template, const struct template_values *values, size_t most,
                    size_t *ret_size, char *ret_problem, size_t room);

#endif
