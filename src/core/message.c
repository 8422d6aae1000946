/* SPDX-License-Identifier: MIT */
#include "core/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void message_list_insert(struct message_list *list, struct message *message)
{
    struct message **at = &list->first;

    if (!list->last || list->last->entry < message->entry) {
        message_list_append(list, message);
        return;
    }
    while (*at && (*at)->entry < message->entry)
        at = &(*at)->next;
    message->next = *at;
    *at = message;
    list->count++;
    list->bytes += message->bytes;
}

void message_list_remove(struct message_list *list, struct message *message)
{
    struct message_list all = *list;
    struct message *other;

    *list = (struct message_list){0};
    while ((other = message_list_take(&all)))
        if (other != message)
            message_list_append(list, other);
}

struct attempt *attempt_new(const struct outcome *outcome, uint32_t batch_size, const char *name)
{
    struct attempt *attempt = memory_zero(1, sizeof *attempt);
    size_t size = outcome->excerpt_size < sizeof attempt->excerpt ? outcome->excerpt_size
                                                                  : sizeof attempt->excerpt;

    attempt->references = 1;
    attempt->record = (struct dead_letter_attempt){
        .wall_us = outcome->sent_wall_us,
        .duration_us = outcome->duration_us,
        .status = outcome->status,
        .batch_size = batch_size,
    };
    snprintf(attempt->record.outcome, sizeof attempt->record.outcome, "%s", name);
    snprintf(attempt->record.error, sizeof attempt->record.error, "%s",
             outcome->error ? outcome->error : "");
    if (size)
        memcpy(attempt->excerpt, outcome->excerpt, size);
    attempt->excerpt_size = (uint32_t)size;
    return attempt;
}

void attempt_unref(struct attempt *attempt)
{
    if (attempt && --attempt->references == 0)
        free(attempt);
}

void message_remember(struct message *message, struct attempt *attempt)
{
    struct history *history = message->history;

    if (!history) {
        history = message->history = memory_zero(1, sizeof *history);
        history->first_wall_us = attempt->record.wall_us;
    }
    if (history->kept == DEAD_LETTER_ATTEMPTS) {
        attempt_unref(history->attempts[0]);
        memmove(history->attempts, history->attempts + 1,
                (DEAD_LETTER_ATTEMPTS - 1) * sizeof *history->attempts);
        history->kept--;
    }
    attempt->references++;
    history->attempts[history->kept++] = attempt;
    history->count++;
}

struct history *history_restore(int64_t first_wall_us, uint32_t count,
                                const struct dead_letter_attempt *attempts, size_t kept,
                                struct sluice_bytes response)
{
    struct history *history = memory_zero(1, sizeof *history);

    history->first_wall_us = first_wall_us;
    history->count = count;
    for (size_t i = kept > DEAD_LETTER_ATTEMPTS ? kept - DEAD_LETTER_ATTEMPTS : 0; i < kept; i++) {
        struct attempt *attempt = memory_zero(1, sizeof *attempt);

        attempt->references = 1;
        attempt->record = attempts[i];
        if (i == kept - 1 && response.data && response.size) {
            attempt->excerpt_size = (uint32_t)(response.size < sizeof attempt->excerpt
                                                   ? response.size
                                                   : sizeof attempt->excerpt);
            memcpy(attempt->excerpt, response.data, attempt->excerpt_size);
        }
        history->attempts[history->kept++] = attempt;
    }
    return history;
}

void message_add_position_token(const struct message *message, const char *lane_name,
                                struct buffer *buffer)
{
    const struct sluice_bytes *identity = &message->source.identity;

    if (identity->data && identity->size) {
        buffer_add(buffer, identity->data, identity->size);
        return;
    }
    buffer_add_text(buffer, lane_name);
    buffer_add(buffer, "/", 1);
    buffer_add_unsigned(buffer, message->source.position);
}

void message_set_token(struct message *message, const char *token, size_t size)
{
    message->token = size <= sizeof message->token_inline ? message->token_inline
                                                          : memory_new(size);
    memcpy(message->token, token, size);
    message->token_size = (uint32_t)size;
}

void message_fini(struct message *message)
{
    if (message->history) {
        for (uint32_t i = 0; i < message->history->kept; i++)
            attempt_unref(message->history->attempts[i]);
        free(message->history);
    }
    free(message->reason);
    if (message->token != message->token_inline)
        free(message->token);
}
