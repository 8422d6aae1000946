/* SPDX-License-Identifier: MIT
 * Tokens of messages about to be invoked: claimed in memory, looked up in the store. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "service/poller_inside.h"

static enum claim look_up(struct poller *poller, const struct message *message)
{
    struct token_store *store = poller->context.token_store;
    struct token_record record;
    struct fault fault = {.text = ""};
    int found = store->ops->reader_begin(poller->reader, &fault);

    if (!found) {
        found = store->ops->find_token(poller->reader, poller->mapping->name, message->token,
                                       message->token_size, clock_wall(), &record, &fault);
        store->ops->reader_end(poller->reader);
    }
    if (found < 0) {
        log_event(LOG_ERROR, "tokens_unreadable", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("error", fault.text),
                  LOG_TEXT("effect", "messages wait until tokens can be read again"));
        return CLAIM_WAIT;
    }
    if (!found)
        return poller_park_claim(poller, message);
    if (record.fingerprint[0] == message->fingerprint[0] &&
        record.fingerprint[1] == message->fingerprint[1])
        return CLAIM_RECORDED;
    /* Another message had its position, in a log that was made anew since. */
    return message->from_park && token_rule_is_positional(poller->token_rule) ? CLAIM_MINE
                                                                              : CLAIM_CONFLICT;
}

/* Most do not wait, so the memory for one that may is kept for the next. */
static struct claim_waiter *waiter_for(struct poller *poller, struct message *message)
{
    if (!poller->waiter)
        poller->waiter = memory_new(sizeof *poller->waiter);
    *poller->waiter = (struct claim_waiter){.reply_to = &poller->mailbox, .message = message};
    return poller->waiter;
}

static void let_wait(struct poller *poller, struct message *message)
{
    message->waiter = poller->waiter;
    poller->waiter = NULL;
}

/* Claims first and looks up then: whoever had the claim before has its record in the store. */
enum claim poller_claim(void *argument, struct message *message)
{
    struct poller *poller = argument;
    struct claim_waiter *waiter = waiter_for(poller, message);
    enum claim claim;

    if (!claims_take(poller->context.claims, message->token, message->token_size, waiter)) {
        let_wait(poller, message);
        return CLAIM_WAIT;
    }
    claim = look_up(poller, message);
    if (claim == CLAIM_MINE)
        return claim;
    claims_give_up(poller->context.claims, message->token, message->token_size);
    if (claim == CLAIM_WAIT) {
        let_wait(poller, message);
        waiter->next = poller->unread;
        poller->unread = waiter;
        poller->token_retry_us = loop_now(poller->loop) + CLOCK_SECOND;
    }
    return claim;
}

void poller_unclaim(void *argument, struct message *message)
{
    struct poller *poller = argument;

    if (message->waiter) {
        ((struct claim_waiter *)message->waiter)->cancelled = true;
        message->waiter = NULL;
    } else {
        claims_give_up(poller->context.claims, message->token, message->token_size);
    }
}

static void try_again(struct poller *poller, struct claim_waiter *waiter)
{
    struct message *message = waiter->message;

    if (!waiter->cancelled) {
        message->waiter = NULL;
        engine_claim_again(poller->engine, message);
    }
    free(waiter);
}

void poller_claim_answered(struct poller *poller, struct mailbox_item *item)
{
    try_again(poller, (struct claim_waiter *)item);
}

void poller_claim_retry(struct poller *poller)
{
    struct claim_waiter *waiters = poller->unread;

    poller->unread = NULL;
    poller->token_retry_us = 0;
    while (waiters) {
        struct claim_waiter *next = waiters->next;

        try_again(poller, waiters);
        waiters = next;
    }
}
