/* SPDX-License-Identifier: MIT
 * What the files of the supervisor share. Nothing else includes it. */
#ifndef SERVICE_SUPERVISOR_INSIDE_H
#define SERVICE_SUPERVISOR_INSIDE_H

#include <pthread.h>

#include "service/running.h"
#include "service/supervisor.h"

/* A mapping by its name, whatever becomes of it. */
struct slot {
    struct running *now;  /* as it runs, or would but for the operator's wish; never NULL */
    struct running *next; /* takes its place once that has ended */
    bool removed;         /* goes once `now` has ended */
    enum supervisor_wish wish;
    int64_t wish_since_wall_us;
    int64_t start_us; /* when to start `now`; 0: it was started */
};

struct supervisor {
    struct configuration *configuration; /* the latest, held */
    char *state_directory;               /* of the first: a reload does not move the stores */
    struct token_store *tokens;
    struct dead_letter_store *letters;
    struct park *park;
    struct recorder *recorder;
    struct configuration *first; /* held: its settings are the tracer's */
    struct tracer *tracer;       /* NULL: off */
    struct books *books;
    struct allowance allowance;
    struct running_context context;
    bool stopping;
    pthread_mutex_t mutex; /* guards the slots and what they point to; the main thread reads freely */
    struct slot *slots;    /* sorted by name */
    size_t slot_count;
};

/* supervisor.c: as it will be, where it is being replaced. */
const struct mapping *supervisor_mapping_of(const struct slot *slot);

#endif
