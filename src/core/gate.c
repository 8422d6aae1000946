/* SPDX-License-Identifier: MIT */
#include "core/gate.h"

#include "base/clock.h"
#include "core/retry.h"

/* A burst of refusals answers one burst of sending: the limit halves once for it. */
#define SHRINK_PAUSE_US (100 * CLOCK_MS)

void gate_init(struct gate *gate, const struct concurrency_settings *settings)
{
    *gate = (struct gate){.limit = settings->most};
}

uint32_t gate_present_limit(const struct gate *gate)
{
    if (gate->state != GATE_CLOSED)
        return 1;
    return gate->cap && gate->cap < gate->limit ? gate->cap : gate->limit;
}

bool gate_admits(const struct gate *gate, int64_t now_us)
{
    return gate->in_flight < gate_present_limit(gate) && now_us >= gate->next_us;
}

bool gate_succeeded(struct gate *gate, const struct rules *rules)
{
    bool closed = gate->state != GATE_CLOSED;

    gate->refusals = 0;
    if (closed) {
        gate->state = GATE_CLOSED;
        gate->probes = 0;
        gate->next_us = 0;
        gate->limit = rules->concurrency.least;
        gate->successes = 0;
    } else if (gate->limit < rules->concurrency.most && ++gate->successes >= gate->limit) {
        gate->limit++;
        gate->successes = 0;
    }
    return closed;
}

bool gate_refused(struct gate *gate, const struct rules *rules, int64_t floor_us, int64_t now_us,
                  struct random *random)
{
    if (now_us - gate->shrunk_us >= SHRINK_PAUSE_US) {
        gate->limit = gate->limit / 2 > rules->concurrency.least ? gate->limit / 2
                                                                 : rules->concurrency.least;
        gate->shrunk_us = now_us;
        gate->successes = 0;
    }
    if (floor_us && gate->next_us < now_us + floor_us)
        gate->next_us = now_us + floor_us;
    if (gate->state == GATE_CLOSED && ++gate->refusals < GATE_REFUSALS)
        return false;
    return gate_open(gate, GATE_UNAVAILABLE, rules, floor_us, now_us, random);
}

bool gate_open(struct gate *gate, enum gate_state state, const struct rules *rules, int64_t floor_us,
               int64_t now_us, struct random *random)
{
    bool changed = gate->state != state;
    int64_t delay;

    if (!changed && now_us < gate->next_us) {
        /* No probe, but what was in flight when the gate opened. */
        if (gate->next_us < now_us + floor_us)
            gate->next_us = now_us + floor_us;
        return false;
    }
    if (changed) {
        gate->state = state;
        gate->opened_us = now_us;
        gate->probes = 0;
    }
    gate->probes++;
    gate->refusals = 0;
    if (state == GATE_PAUSED) {
        delay = retry_interval(rules->retry.probe_first_us, rules->retry.probe_most_us,
                               gate->probes);
    } else {
        /* At least half of the interval, so that a crowd of pollers does not hammer. */
        int64_t interval = retry_interval(rules->retry.backoff_first_us,
                                          rules->retry.backoff_most_us, gate->probes);

        delay = interval / 2 + random_up_to(random, interval / 2);
    }
    if (delay < floor_us)
        delay = floor_us;
    if (gate->next_us < now_us + delay)
        gate->next_us = now_us + delay;
    return changed;
}
