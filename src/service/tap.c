/* SPDX-License-Identifier: MIT */
#include "service/tap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* So many a second, with a second's worth at once. */
struct budget {
    double left;
    int64_t filled_us;
};

struct tap {
    /* Until when it is open: for failures, for all, with payloads. */
    _Atomic int64_t failed_us, all_us, payloads_us;
    atomic_uint_fast64_t dropped, dropped_failed; /* the first: those that did not fail */
    atomic_bool kept; /* there are entries */

    pthread_mutex_t mutex; /* guards what follows */
    struct tap_entry *ring[TAP_ENTRIES];
    uint64_t newest; /* number of it, 0: none yet */
    struct budget budgets[2]; /* of what did not fail, of what did */
};

struct tap *tap_new(void)
{
    struct tap *tap = memory_zero(1, sizeof *tap);

    pthread_mutex_init(&tap->mutex, NULL);
    return tap;
}

static void drop_entries(struct tap *tap)
{
    for (size_t i = 0; i < TAP_ENTRIES; i++) {
        free(tap->ring[i]);
        tap->ring[i] = NULL;
    }
    atomic_store(&tap->kept, false);
}

void tap_free(struct tap *tap)
{
    if (!tap)
        return;
    drop_entries(tap);
    pthread_mutex_destroy(&tap->mutex);
    free(tap);
}

unsigned tap_wishes(const struct tap *tap, int64_t now_us)
{
    unsigned wishes = 0;

    if (now_us < atomic_load_explicit(&tap->failed_us, memory_order_relaxed))
        wishes |= TAP_FAILED;
    if (now_us < atomic_load_explicit(&tap->all_us, memory_order_relaxed))
        wishes |= TAP_FAILED | TAP_ALL;
    if (wishes && now_us < atomic_load_explicit(&tap->payloads_us, memory_order_relaxed))
        wishes |= TAP_PAYLOADS;
    return wishes;
}

/* ---- in ---- */

static bool spend(struct budget *budget, int64_t now_us)
{
    budget->left += (double)(now_us - budget->filled_us) * TAP_RATE / CLOCK_SECOND;
    budget->filled_us = now_us;
    if (budget->left > TAP_RATE)
        budget->left = TAP_RATE;
    if (budget->left < 1)
        return false;
    budget->left--;
    return true;
}

static struct sluice_bytes keep(char **at, struct sluice_bytes bytes, size_t most)
{
    struct sluice_bytes kept = {*at, bytes.size < most ? bytes.size : most};

    if (!bytes.data)
        return (struct sluice_bytes){NULL, 0};
    if (kept.size)
        memcpy(*at, bytes.data, kept.size);
    *at += kept.size;
    return kept;
}

static const char *keep_text(char **at, const char *text)
{
    const char *kept = *at;
    size_t size;

    if (!text)
        return NULL;
    size = strnlen(text, TAP_TEXT);
    memcpy(*at, text, size);
    (*at)[size] = '\0';
    *at += size + 1;
    return kept;
}

static size_t most_of(struct sluice_bytes bytes, size_t most)
{
    return bytes.size < most ? bytes.size : most;
}

static struct tap_entry *copy(const struct tap_event *event, bool with_payload)
{
    size_t most = with_payload ? TAP_PAYLOAD : 0;
    size_t texts = strnlen(event->lane, TAP_TEXT) + 1 +
                   (event->error ? strnlen(event->error, TAP_TEXT) + 1 : 0);
    struct tap_entry *entry =
        memory_new(sizeof *entry + texts + most_of(event->token, TAP_TEXT) +
                   most_of(event->key, TAP_TEXT) + most_of(event->payload, most));
    char *at = entry->memory;

    entry->event = *event;
    entry->event.lane = keep_text(&at, event->lane);
    entry->event.error = keep_text(&at, event->error);
    entry->event.token = keep(&at, event->token, TAP_TEXT);
    entry->event.key = keep(&at, event->key, TAP_TEXT);
    entry->event.payload = keep(&at, with_payload ? event->payload : (struct sluice_bytes){0}, most);
    entry->payload_size = event->payload.size;
    return entry;
}

static void count_dropped(struct tap *tap, bool failed)
{
    atomic_fetch_add_explicit(failed ? &tap->dropped_failed : &tap->dropped, 1,
                              memory_order_relaxed);
}

void tap_offer(struct tap *tap, const struct tap_event *event, int64_t now_us)
{
    unsigned wishes = tap_wishes(tap, now_us);
    struct tap_entry **at;

    if (!(wishes & (event->failed ? TAP_FAILED : TAP_ALL)))
        return;
    if (pthread_mutex_trylock(&tap->mutex)) {
        count_dropped(tap, event->failed);
        return;
    }
    if (spend(&tap->budgets[event->failed], now_us)) {
        at = &tap->ring[++tap->newest % TAP_ENTRIES];
        free(*at);
        *at = copy(event, wishes & TAP_PAYLOADS);
        (*at)->number = tap->newest;
        atomic_store_explicit(&tap->kept, true, memory_order_relaxed);
    } else {
        count_dropped(tap, event->failed);
    }
    pthread_mutex_unlock(&tap->mutex);
}

/* ---- out ---- */

static void open_until(struct tap *tap, unsigned wishes, int64_t until_us)
{
    atomic_store(wishes & TAP_ALL ? &tap->all_us : &tap->failed_us, until_us);
    if (wishes & TAP_PAYLOADS)
        atomic_store(&tap->payloads_us, until_us);
}

void tap_look(struct tap *tap, unsigned wishes, uint64_t after, size_t most, int64_t now_us,
              void (*see)(void *argument, const struct tap_entry *entry), void *argument,
              struct tap_look *ret_look)
{
    uint64_t number, oldest;

    open_until(tap, wishes, now_us + TAP_OPEN_US);
    pthread_mutex_lock(&tap->mutex);
    oldest = tap->newest < TAP_ENTRIES ? 1 : tap->newest - TAP_ENTRIES + 1;
    if (after > tap->newest)
        after = tap->newest;
    ret_look->missed = after + 1 < oldest ? oldest - after - 1 : 0;
    for (number = after + 1 < oldest ? oldest : after + 1; number <= tap->newest && most; number++) {
        const struct tap_entry *entry = tap->ring[number % TAP_ENTRIES];

        if (!entry || !(entry->event.failed || wishes & TAP_ALL))
            continue;
        see(argument, entry);
        most--;
    }
    ret_look->next = number - 1;
    ret_look->dropped = atomic_load(&tap->dropped_failed);
    if (wishes & TAP_ALL)
        ret_look->dropped += atomic_load(&tap->dropped);
    pthread_mutex_unlock(&tap->mutex);
}

void tap_tidy(struct tap *tap, int64_t now_us)
{
    if (!atomic_load_explicit(&tap->kept, memory_order_relaxed) || tap_wishes(tap, now_us))
        return;
    pthread_mutex_lock(&tap->mutex);
    drop_entries(tap);
    pthread_mutex_unlock(&tap->mutex);
}
