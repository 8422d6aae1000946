/* SPDX-License-Identifier: MIT */
#include "service/orders.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mailbox.h"
#include "base/memory.h"

struct order {
    struct mailbox_item item; /* first */
    void (*work)(void *argument);
    void *argument;
    bool done;
};

struct orders {
    struct mailbox mailbox;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool ended;
};

struct orders *orders_new(struct fault *fault)
{
    struct orders *orders = memory_zero(1, sizeof *orders);

    if (mailbox_init(&orders->mailbox, fault)) {
        free(orders);
        return NULL;
    }
    pthread_mutex_init(&orders->mutex, NULL);
    pthread_cond_init(&orders->changed, NULL);
    return orders;
}

void orders_free(struct orders *orders)
{
    if (!orders)
        return;
    mailbox_fini(&orders->mailbox);
    pthread_cond_destroy(&orders->changed);
    pthread_mutex_destroy(&orders->mutex);
    free(orders);
}

bool orders_call(struct orders *orders, void (*work)(void *argument), void *argument)
{
    struct order order = {.work = work, .argument = argument};
    bool done;

    pthread_mutex_lock(&orders->mutex);
    if (!orders->ended)
        mailbox_post(&orders->mailbox, &order.item);
    while (!order.done && !orders->ended)
        pthread_cond_wait(&orders->changed, &orders->mutex);
    done = order.done;
    pthread_mutex_unlock(&orders->mutex);
    return done;
}

int orders_fd(const struct orders *orders)
{
    return mailbox_fd(&orders->mailbox);
}

void orders_run(struct orders *orders)
{
    struct mailbox_item *item = mailbox_take_all(&orders->mailbox), *next;

    for (; item; item = next) {
        struct order *order = (struct order *)item;

        next = item->next; /* the order's memory is its caller's again once it is done */
        order->work(order->argument);
        pthread_mutex_lock(&orders->mutex);
        order->done = true;
        pthread_cond_broadcast(&orders->changed);
        pthread_mutex_unlock(&orders->mutex);
    }
}

void orders_end(struct orders *orders)
{
    pthread_mutex_lock(&orders->mutex);
    orders->ended = true;
    pthread_cond_broadcast(&orders->changed);
    pthread_mutex_unlock(&orders->mutex);
}
