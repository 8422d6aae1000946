/* SPDX-License-Identifier: MIT
 * The idempotency token of a message, by the mapping's rule. */
#ifndef CORE_TOKEN_H
#define CORE_TOKEN_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/fault.h"
#include "core/message.h"
#include "core/settings.h"

#define TOKEN_BYTES_MOST 1024

struct token_rule;

/* Compiles a rule; `settings` are borrowed. NULL with a fault (not a JSON Pointer). */
struct token_rule *token_rule_new(const struct token_settings *settings, struct fault *fault);
void token_rule_free(struct token_rule *rule);
const struct token_settings *token_rule_settings(const struct token_rule *rule);
/* Whether tokens are positions, which need no record per message. */
bool token_rule_is_positional(const struct token_rule *rule);

/* Finds the token. `headers` are needed for the header rule only. 1: found, appended to
 * `ret_token`; 0: there is none (absent, empty, not JSON, longer than TOKEN_BYTES_MOST), and the
 * fault says why. Not for positional rules, nor for TOKEN_HASH. */
int token_find(const struct token_rule *rule, const struct sluice_message *message,
               const struct sluice_header *headers, size_t header_count, struct buffer *ret_token,
               struct fault *fault);

#endif
