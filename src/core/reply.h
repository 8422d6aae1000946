/* SPDX-License-Identifier: MIT
 * What a function's 2xx answer says about single messages (partial batch response, AWS shape). */
#ifndef CORE_REPLY_H
#define CORE_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"
#include "core/envelope.h"

enum reply_kind {
    REPLY_DONE,     /* all messages are done */
    REPLY_PARTIAL,  /* those marked in ret_failed failed, the others are done */
    REPLY_MALFORMED /* the whole batch failed; the fault says why */
};

/* Judges the body of a 2xx answer by AWS's rules for batchItemFailures. Empty body, null, {}, [],
 * "", {"batchItemFailures":[]} or null: all done. An object with other keys and no batchItemFailures:
 * malformed, where AWS passes it in silence (its best-known way to lose messages).
 * Identifiers: Kafka {"partition":"topic-0","offset":100}; SQS the messageId, or as the others; json and
 * raw formats: the token, or {"source","partition","position"}. Unknown or doubled identifiers, wrong types, broken JSON:
 * malformed. `ret_failed` has `count` elements, all written. */
enum reply_kind reply_judge(const struct envelope_context *context,
                            const struct envelope_record *records, size_t count, const char *body,
                            size_t body_size, bool *ret_failed, struct fault *fault);

#endif
