/* SPDX-License-Identifier: MIT
 * A dead letter as `export` writes it, read again. */
#ifndef CLI_DLQ_PARSE_H
#define CLI_DLQ_PARSE_H

#include <stddef.h>

#include <jansson.h>

#include "base/fault.h"
#include "core/dead_letter.h"

/* A letter with all that it points to. */
struct dlq_parsed {
    struct dead_letter letter;
    struct dead_letter_attempt attempts[DEAD_LETTER_ATTEMPTS];
    json_t *document;
    void **owned;
    size_t owned_count;
};

/* Reads one JSON object. -1 with a fault that names the member, what was found and expected; then
 * there is nothing to free. Members that are not known are left out. */
int dlq_parse_letter(const char *json, size_t size, struct dlq_parsed *ret_parsed,
                     struct fault *fault);
void dlq_parsed_fini(struct dlq_parsed *parsed);

#endif
