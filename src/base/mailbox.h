/* SPDX-License-Identifier: MIT
 * Items handed from any number of threads to one, with a descriptor to wait on. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>

#include "base/fault.h"

/* Embedded in what is handed over. Its owner does not touch it between post and take. */
struct mailbox_item {
    struct mailbox_item *next;
};

struct mailbox {
    _Atomic(struct mailbox_item *) newest;
    int fd;
};

/* 0, or -1 with a fault (no descriptor left). */
int mailbox_init(struct mailbox *mailbox, struct fault *fault);
/* No thread may post any more, and none may still be inside mailbox_post: taking an item does not
 * mean that the poster has returned. Join the posting threads, or stop them, first. */
void mailbox_fini(struct mailbox *mailbox);

/* Any thread; never blocks. Wakes the taker only where the mailbox was empty. */
void mailbox_post(struct mailbox *mailbox, struct mailbox_item *item);
/* Any thread: wakes the taker though there is nothing to take. */
void mailbox_wake(struct mailbox *mailbox);

/* The one taking thread: everything posted so far, oldest first, linked by `next`, NULL if nothing.
 * Clears the descriptor. A wake-up may find nothing. */
struct mailbox_item *mailbox_take_all(struct mailbox *mailbox);

/* Readable while something waits to be taken. */
int mailbox_fd(const struct mailbox *mailbox);

#endif
