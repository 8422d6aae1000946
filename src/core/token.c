/* SPDX-License-Identifier: MIT */
#include "core/token.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/pointer.h"

struct token_rule {
    const struct token_settings *settings;
    struct pointer *pointer; /* TOKEN_POINTER only */
};

struct token_rule *token_rule_new(const struct token_settings *settings, struct fault *fault)
{
    struct token_rule *rule = memory_zero(1, sizeof *rule);

    rule->settings = settings;
    if (settings->source == TOKEN_POINTER) {
        rule->pointer = pointer_compile(settings->argument, fault);
        if (!rule->pointer) {
            free(rule);
            return NULL;
        }
    }
    return rule;
}

void token_rule_free(struct token_rule *rule)
{
    if (rule)
        pointer_free(rule->pointer);
    free(rule);
}

const struct token_settings *token_rule_settings(const struct token_rule *rule)
{
    return rule->settings;
}

bool token_rule_is_positional(const struct token_rule *rule)
{
    return rule->settings->source == TOKEN_POSITION;
}

static int take(const struct sluice_bytes *bytes, const char *what, struct buffer *ret_token,
                struct fault *fault)
{
    if (!bytes->data || !bytes->size) {
        fault_set(fault, "the message has no %s", what);
        return 0;
    }
    if (bytes->size > TOKEN_BYTES_MOST) {
        fault_set(fault, "its %s has %zu bytes, more than the %d a token may have", what,
                  bytes->size, TOKEN_BYTES_MOST);
        return 0;
    }
    buffer_add(ret_token, bytes->data, bytes->size);
    return 1;
}

static int take_header(const struct token_rule *rule, const struct sluice_header *headers,
                       size_t count, struct buffer *ret_token, struct fault *fault)
{
    const char *name = rule->settings->argument;
    size_t size = strlen(name);

    for (size_t i = 0; i < count; i++)
        if (headers[i].name.size == size && !memcmp(headers[i].name.data, name, size))
            return take(&headers[i].value, "value in the header of its token", ret_token, fault);
    fault_set(fault, "the message has no header %s", name);
    return 0;
}

static int take_pointer(const struct token_rule *rule, const struct sluice_bytes *payload,
                        struct buffer *ret_token, struct fault *fault)
{
    size_t before = ret_token->size;
    int found = payload->data ? pointer_find(rule->pointer, payload->data, payload->size, ret_token)
                              : -1;

    if (found < 0) {
        fault_set(fault, "the payload is not JSON, so there is nothing at %s",
                  rule->settings->argument);
        return 0;
    }
    if (!found || ret_token->full || ret_token->size == before) {
        fault_set(fault, "the payload has no text or number of at most %d bytes at %s",
                  TOKEN_BYTES_MOST, rule->settings->argument);
        return 0;
    }
    return 1;
}

int token_find(const struct token_rule *rule, const struct sluice_message *message,
               const struct sluice_header *headers, size_t header_count, struct buffer *ret_token,
               struct fault *fault)
{
    switch (rule->settings->source) {
    case TOKEN_MESSAGE_ID:
        return take(&message->message_id, "message id", ret_token, fault);
    case TOKEN_KEY:
        return take(&message->key, "key", ret_token, fault);
    case TOKEN_HEADER:
        return take_header(rule, headers, header_count, ret_token, fault);
    case TOKEN_POINTER:
        return take_pointer(rule, &message->payload, ret_token, fault);
    case TOKEN_IDENTITY:
        return take(&message->identity, "token", ret_token, fault);
    case TOKEN_POSITION:
    case TOKEN_HASH:
        break;
    }
    return 0;
}
