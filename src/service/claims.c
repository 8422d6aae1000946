/* SPDX-License-Identifier: MIT */
#include "service/claims.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/hash.h"

#define SLOTS 4096 /* held claims are bounded by the pollers' buffers, a few per slot at most */

struct held_claim {
    struct held_claim *next;
    struct claim_waiter *waiters; /* newest first */
    const struct mailbox *owner;
    size_t size;
    char token[];
};

struct claims {
    pthread_mutex_t lock;
    atomic_uint holders;
    struct held_claim *slots[SLOTS];
};

struct claims *claims_new(void)
{
    struct claims *claims = memory_zero(1, sizeof *claims);

    pthread_mutex_init(&claims->lock, NULL);
    atomic_init(&claims->holders, 1);
    return claims;
}

struct claims *claims_hold(struct claims *claims)
{
    atomic_fetch_add(&claims->holders, 1);
    return claims;
}

bool claims_shared(const struct claims *claims)
{
    return atomic_load(&claims->holders) > 1;
}

void claims_free(struct claims *claims)
{
    if (!claims || atomic_fetch_sub(&claims->holders, 1) > 1)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        for (struct held_claim *claim = claims->slots[i], *next; claim; claim = next) {
            next = claim->next;
            free(claim);
        }
    pthread_mutex_destroy(&claims->lock);
    free(claims);
}

/* The link that points to the claim, or to the end of its slot. */
static struct held_claim **find(struct claims *claims, const char *token, size_t size)
{
    uint64_t hash[2];
    struct held_claim **at;

    hash_fingerprint(token, size, hash);
    at = &claims->slots[hash[0] % SLOTS];
    while (*at && ((*at)->size != size || memcmp((*at)->token, token, size)))
        at = &(*at)->next;
    return at;
}

bool claims_take(struct claims *claims, const char *token, size_t size, struct claim_waiter *waiter)
{
    struct held_claim **at;
    bool mine;

    pthread_mutex_lock(&claims->lock);
    at = find(claims, token, size);
    mine = !*at;
    if (mine) {
        *at = memory_new(sizeof **at + size);
        (*at)->next = NULL;
        (*at)->waiters = NULL;
        (*at)->owner = waiter->reply_to;
        (*at)->size = size;
        memcpy((*at)->token, token, size);
    } else {
        waiter->next = (*at)->waiters;
        (*at)->waiters = waiter;
    }
    pthread_mutex_unlock(&claims->lock);
    return mine;
}

/* Takes the claim out and posts all who wait for it. With the lock held. */
static void give_up(struct held_claim **at)
{
    struct held_claim *claim = *at;
    struct claim_waiter *waiter, *next;

    *at = claim->next;
    for (waiter = claim->waiters; waiter; waiter = next) {
        next = waiter->next;
        mailbox_post(waiter->reply_to, &waiter->item);
    }
    free(claim);
}

void claims_give_up(struct claims *claims, const char *token, size_t size)
{
    struct held_claim **at;

    pthread_mutex_lock(&claims->lock);
    at = find(claims, token, size);
    assert(*at);
    give_up(at);
    pthread_mutex_unlock(&claims->lock);
}

void claims_leave(struct claims *claims, const struct mailbox *mailbox)
{
    pthread_mutex_lock(&claims->lock);
    for (size_t i = 0; i < SLOTS; i++)
        for (struct held_claim **at = &claims->slots[i]; *at;)
            if ((*at)->owner == mailbox)
                give_up(at);
            else
                at = &(*at)->next;
    pthread_mutex_unlock(&claims->lock);
}

void claims_forget(struct claims *claims, const struct mailbox *mailbox)
{
    pthread_mutex_lock(&claims->lock);
    for (size_t i = 0; i < SLOTS; i++)
        for (struct held_claim *claim = claims->slots[i]; claim; claim = claim->next)
            for (struct claim_waiter **at = &claim->waiters, *waiter; (waiter = *at);) {
                if (waiter->reply_to != mailbox) {
                    at = &waiter->next;
                    continue;
                }
                *at = waiter->next;
                free(waiter);
            }
    pthread_mutex_unlock(&claims->lock);
}
