/* SPDX-License-Identifier: MIT
 * How many invocations may be in flight: an adaptive limit while the target lives, and single
 * probes at growing intervals while it does not (the circuit breaker). */
#ifndef CORE_GATE_H
#define CORE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/settings.h"
#include "core/random.h"

enum gate_state {
    GATE_CLOSED = 0,  /* invocations flow */
    GATE_UNAVAILABLE, /* the target is not reached or asks for patience */
    GATE_FAILING,     /* it fails whatever it is given */
    GATE_PAUSED       /* credentials or function missing: an operator is needed */
};

struct gate {
    enum gate_state state;
    uint32_t limit;     /* invocations that may be in flight now */
    uint32_t cap;       /* an operator's limit beside it; 0: none */
    uint32_t in_flight;
    uint32_t successes; /* since the limit last moved up */
    uint32_t refusals;  /* unavailable or throttled in a row */
    uint32_t probes;    /* failed since it opened */
    int64_t opened_us;
    int64_t next_us;    /* not before this may the next invocation begin */
    int64_t shrunk_us;
};

/* Refusals in a row, over all invocations, that open the gate. */
#define GATE_REFUSALS 3

void gate_init(struct gate *gate, const struct concurrency_settings *settings);
/* How many may be in flight at the moment. */
uint32_t gate_present_limit(const struct gate *gate);
/* Whether one more invocation may begin now. */
bool gate_admits(const struct gate *gate, int64_t now_us);
static inline bool gate_probing(const struct gate *gate)
{
    return gate->state != GATE_CLOSED;
}
/* An invocation succeeded. Returns whether that closed the gate. */
bool gate_succeeded(struct gate *gate, const struct rules *rules);
/* Unavailable or throttled, with the wait it asked for. Returns whether that opened the gate. */
bool gate_refused(struct gate *gate, const struct rules *rules, int64_t floor_us, int64_t now_us,
                  struct random *random);
/* The engine found the target guilty: opens, or waits longer before the next probe. Answers that
 * land before the next probe is due (they were in flight when it opened) do not lengthen the wait,
 * and nothing shortens it. Returns whether the state changed. */
bool gate_open(struct gate *gate, enum gate_state state, const struct rules *rules, int64_t floor_us,
               int64_t now_us, struct random *random);

#endif
