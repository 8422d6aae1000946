/* SPDX-License-Identifier: MIT */
#include "service/claims.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/hash.h"

#define SLOTS 4096 /* held claims are bounded by the pollers' buffers, a few per slot at most */

struct held_claim {
    struct held_claim *next;
    struct claim_waiter *waiters; /* newest first */
    size_t size;
    char token[];
};

struct claims {
    pthread_mutex_t lock;
    struct held_claim *slots[SLOTS];
};

struct claims *claims_new(void)
{
    struct claims *claims = memory_zero(1, sizeof *claims);

    pthread_mutex_init(&claims->lock, NULL);
    return claims;
}

void claims_free(struct claims *claims)
{
    if (!claims)
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
        (*at)->size = size;
        memcpy((*at)->token, token, size);
    } else {
        waiter->next = (*at)->waiters;
        (*at)->waiters = waiter;
    }
    pthread_mutex_unlock(&claims->lock);
    return mine;
}

void claims_give_up(struct claims *claims, const char *token, size_t size)
{
    struct held_claim **at, *claim;
    struct claim_waiter *waiter, *next;

    pthread_mutex_lock(&claims->lock);
    at = find(claims, token, size);
    claim = *at;
    assert(claim);
    *at = claim->next;
    for (waiter = claim->waiters; waiter; waiter = next) {
        next = waiter->next;
        mailbox_post(waiter->reply_to, &waiter->item);
    }
    pthread_mutex_unlock(&claims->lock);
    free(claim);
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
