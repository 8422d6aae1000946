/* SPDX-License-Identifier: MIT */
#include "base/mailbox.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *mailbox, struct fault *fault)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return fault_set(fault, "no event descriptor: %s", strerror(errno));
    atomic_init(&mailbox->newest, NULL);
    mailbox->fd = fd;
    return 0;
}

void mailbox_fini(struct mailbox *mailbox)
{
    close(mailbox->fd);
    mailbox->fd = -1;
}

void mailbox_wake(struct mailbox *mailbox)
{
    const uint64_t one = 1;

    while (write(mailbox->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void mailbox_post(struct mailbox *mailbox, struct mailbox_item *item)
{
    struct mailbox_item *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);

    /* Only pushes and a take of everything: a node cannot come back in between (no ABA). Once the
     * exchange succeeded the item belongs to the taker: `newest` says whether it was the first. */
    do
        item->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, item,
                                                  memory_order_acq_rel, memory_order_relaxed));
    if (!newest)
        mailbox_wake(mailbox);
}

struct mailbox_item *mailbox_take_all(struct mailbox *mailbox)
{
    struct mailbox_item *item, *oldest = NULL;
    uint64_t count;

    /* Cleared before taking: what is posted after the take finds the list empty and wakes again. */
    while (read(mailbox->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    item = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acq_rel);
    while (item) {
        struct mailbox_item *next = item->next;

        item->next = oldest;
        oldest = item;
        item = next;
    }
    return oldest;
}

int mailbox_fd(const struct mailbox *mailbox)
{
    return mailbox->fd;
}
