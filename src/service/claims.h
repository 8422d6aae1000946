/* SPDX-License-Identifier: MIT
 * Which tokens of a mapping are in flight now, over all its pollers. In memory only: after a crash
 * every claim is void, and what was in flight is invoked again with the same token. */
#ifndef SERVICE_CLAIMS_H
#define SERVICE_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mailbox.h"

struct claims;

/* A message that waits for another's claim; the waiting poller's memory. When the claim is given
 * up, it is posted to the poller's mailbox, which then tries again. */
struct claim_waiter {
    struct mailbox_item item;
    struct mailbox *reply_to;
    void *message;
    struct claim_waiter *next; /* the table's own */
    bool cancelled;            /* the poller dropped the message; free the waiter when it comes */
};

struct claims *claims_new(void);
/* Another holder of it; returns it. Any thread. */
struct claims *claims_hold(struct claims *claims);
/* Freed once every holder has called this. NULL is fine. Any thread. */
void claims_free(struct claims *claims);
/* Whether there is more than one holder. */
bool claims_shared(const struct claims *claims);

/* Any thread. True: the token is now this owner's. False: another has it, and `waiter` is queued. */
bool claims_take(struct claims *claims, const char *token, size_t size, struct claim_waiter *waiter);
/* Gives up a claim and posts all who wait for it. */
void claims_give_up(struct claims *claims, const char *token, size_t size);

/* Takes back all waiters that would be posted to `mailbox`, and frees them; afterwards nobody posts
 * one to it. */
void claims_forget(struct claims *claims, const struct mailbox *mailbox);
/* Gives up whatever claims the owner of `mailbox` still has: it has ended. */
void claims_leave(struct claims *claims, const struct mailbox *mailbox);

#endif
