/* SPDX-License-Identifier: MIT
 * What a mapping uses, counted by its pollers and taken by whoever keeps the sums. Any thread; no locks. */
#ifndef SERVICE_METER_H
#define SERVICE_METER_H

#include <stdatomic.h>
#include <stdint.h>

#include "io/usage_store.h"

struct meter {
    atomic_uint_fast64_t invocations, messages, received_bytes, sent_bytes, function_us;
};

static inline void meter_add(atomic_uint_fast64_t *count, uint64_t more)
{
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

/* Takes all that was counted since the last call. */
static inline struct usage_counts meter_take(struct meter *meter)
{
    return (struct usage_counts){
        .invocations = atomic_exchange_explicit(&meter->invocations, 0, memory_order_relaxed),
        .messages = atomic_exchange_explicit(&meter->messages, 0, memory_order_relaxed),
        .received_bytes = atomic_exchange_explicit(&meter->received_bytes, 0, memory_order_relaxed),
        .sent_bytes = atomic_exchange_explicit(&meter->sent_bytes, 0, memory_order_relaxed),
        .function_us = atomic_exchange_explicit(&meter->function_us, 0, memory_order_relaxed),
    };
}

#endif
