/* SPDX-License-Identifier: MIT
 * Handles are destroyed on threads of their own: rd_kafka_destroy waits for librdkafka's broker
 * threads, and a look-up or a token fetch that still uses the handle waits for the network. */
#define _GNU_SOURCE
#include "kafka.h"

#include <stdlib.h>
#include <time.h>

/* Outlives the instance where a thread does. */
struct kafka_aside {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned running;
    bool abandoned; /* by the instance; the last thread frees this */
};

struct destruction {
    struct kafka_aside *aside;
    rd_kafka_t *rk;
    struct kafka_lookup *lookup;
    struct kafka_fetch *fetch;
};

struct kafka_aside *kafka_aside_new(void)
{
    struct kafka_aside *aside = calloc(1, sizeof *aside);
    pthread_condattr_t attributes;

    if (!aside)
        return NULL;
    pthread_mutex_init(&aside->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&aside->idle, &attributes);
    pthread_condattr_destroy(&attributes);
    return aside;
}

static void aside_free(struct kafka_aside *aside)
{
    pthread_cond_destroy(&aside->idle);
    pthread_mutex_destroy(&aside->lock);
    free(aside);
}

static void *destroy(void *argument)
{
    struct destruction *destruction = argument;
    struct kafka_aside *aside = destruction->aside;
    bool last;

    kafka_lookup_discard(destruction->lookup);
    kafka_fetch_free(destruction->fetch);
    rd_kafka_destroy_flags(destruction->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(destruction);
    pthread_mutex_lock(&aside->lock);
    aside->running--;
    last = aside->abandoned && !aside->running;
    pthread_cond_signal(&aside->idle);
    pthread_mutex_unlock(&aside->lock);
    if (last)
        aside_free(aside);
    return NULL;
}

void kafka_aside_destroy(struct kafka_aside *aside, rd_kafka_t *rk, struct kafka_lookup *lookup,
                         struct kafka_fetch *fetch)
{
    struct destruction *destruction = calloc(1, sizeof *destruction);
    pthread_t thread;

    *destruction = (struct destruction){aside, rk, lookup, fetch};
    pthread_mutex_lock(&aside->lock);
    aside->running++;
    pthread_mutex_unlock(&aside->lock);
    if (pthread_create(&thread, NULL, destroy, destruction))
        destroy(destruction);
    else
        pthread_detach(thread);
}

bool kafka_aside_close(struct kafka_aside *aside, int64_t wait_us)
{
    int64_t until_us = kafka_now() + wait_us;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int failed = 0;
    bool idle;

    pthread_mutex_lock(&aside->lock);
    while (aside->running && !failed)
        failed = pthread_cond_timedwait(&aside->idle, &aside->lock, &until);
    idle = !aside->running;
    aside->abandoned = true;
    pthread_mutex_unlock(&aside->lock);
    if (idle)
        aside_free(aside);
    return idle;
}
