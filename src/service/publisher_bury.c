/* SPDX-License-Identifier: MIT
 * Parked messages made dead letters at the place, by an operator's order: read from the park, published as
 * a job like any poller's, and taken out of the park when that is confirmed. Until then their rows stay,
 * so that whatever happens they are either there or still parked. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "service/letter_copy.h"
#include "service/park_bury.h"
#include "service/publisher_inside.h"

#define BYTES_MOST      ((size_t)8 << 20) /* of letters at once, past the first */
#define READ_LATER_US   (60 * CLOCK_SECOND)
#define REMOVE_AGAIN_US CLOCK_SECOND

struct burial {
    struct record_job job; /* the letters, for the place; then the rows, for the recorder */
    struct dead_letter letters[PARK_BURY_MOST];
    struct dead_letter *copies[PARK_BURY_MOST]; /* what they point to */
    int64_t numbers[PARK_BURY_MOST];
    size_t count;
    bool published;
    bool removing; /* at the recorder */
    int64_t remove_us; /* not before */
};

/* ---- out of the park ---- */

static int read_row(void *argument, const struct parked *parked)
{
    struct burial *burial = argument;
    char reason[PARK_BURY_REASON];
    struct dead_letter letter;

    park_bury_letter(parked, reason, &letter);
    burial->copies[burial->count] = letter_copy(&letter);
    burial->letters[burial->count] = *burial->copies[burial->count];
    burial->numbers[burial->count] = parked->number;
    burial->count++;
    return 0;
}

/* One that is gone leaves no trace; one that cannot be read is left where it is. */
static void read_rows(struct publisher *publisher, struct parked_store *store, const int64_t *numbers,
                      size_t count, struct park_unreadable *unreadable, struct fault *fault)
{
    struct burial *burial = publisher->burial;

    for (size_t i = 0; i < count; i++) {
        int found = parked_store_read(store, numbers[i], read_row, burial, fault);

        if (found > 0)
            continue;
        if (!found) {
            lot_remove(publisher->lot, numbers[i]);
            continue;
        }
        park_unreadable_add(unreadable, numbers[i]);
    }
}

static void tell_unreadable(struct publisher *publisher, uint64_t count, const struct fault *fault)
{
    publisher_note_error(publisher, fault->text);
    pthread_mutex_lock(&publisher->status_lock);
    publisher->unreadable = count;
    publisher->unreadable_fault = *fault;
    pthread_mutex_unlock(&publisher->status_lock);
}

/* Takes on until something can be read, so that what cannot be does not stand before it. */
static void take_rows(struct publisher *publisher, struct parked_store *store)
{
    struct park_unreadable unreadable = {NULL, 0, 0};
    int64_t numbers[PARK_BURY_MOST];
    struct fault fault;
    size_t count;

    while (!publisher->burial->count &&
           (count = lot_take(publisher->lot, INT64_MAX, PARK_BURY_MOST, BYTES_MOST, numbers)))
        read_rows(publisher, store, numbers, count, &unreadable, &fault);
    if (!publisher->burial->count && unreadable.count)
        tell_unreadable(publisher, unreadable.count, &fault);
    park_unreadable_back(&unreadable, publisher->lot, clock_wall() + READ_LATER_US);
}

static uint64_t waiting_in(struct lot *lot)
{
    struct lot_state state;

    lot_state(lot, &state);
    return state.count;
}

static void free_burial(struct publisher *publisher)
{
    struct burial *burial = publisher->burial;

    for (size_t i = 0; i < burial->count; i++)
        free(burial->copies[i]);
    free(burial);
    publisher->burial = NULL;
    atomic_store(&publisher->burying, 0);
}

static void begin(struct publisher *publisher, int64_t now_us)
{
    struct burial *burial = memory_zero(1, sizeof *burial);
    struct fault fault = {.text = ""};
    struct parked_store *store = parked_store_open(park_directory(publisher->park), false, &fault);

    /* Before they are out: whoever sees none waiting sees that some are on their way. */
    atomic_store(&publisher->burying, 1);
    publisher->burial = burial;
    if (store)
        take_rows(publisher, store);
    else if (fault.text[0])
        tell_unreadable(publisher, waiting_in(publisher->lot), &fault);
    parked_store_close(store);
    if (!burial->count) {
        free_burial(publisher);
        return;
    }
    atomic_store(&publisher->burying, burial->count);
    burial->job = (struct record_job){.reply_to = &publisher->mailbox,
                                      .letters = burial->letters,
                                      .letter_count = burial->count};
    publisher_take_job(publisher, &burial->job, now_us);
}

/* ---- its end ---- */

static void give_back(struct publisher *publisher)
{
    struct burial *burial = publisher->burial;

    for (size_t i = 0; i < burial->count; i++)
        lot_back(publisher->lot, burial->numbers[i], -1);
    free_burial(publisher);
}

static void finish(struct publisher *publisher)
{
    struct burial *burial = publisher->burial;

    for (size_t i = 0; i < burial->count; i++)
        lot_remove(publisher->lot, burial->numbers[i]);
    atomic_fetch_add(&publisher->buried, burial->count);
    log_event(LOG_INFO, "parked_buried", LOG_TEXT("mapping", publisher->mapping->name),
              LOG_TEXT("place", publisher->to->text), LOG_NUMBER("messages", (int64_t)burial->count));
    free_burial(publisher);
}

static void remove_rows(struct publisher *publisher)
{
    struct burial *burial = publisher->burial;

    burial->removing = true;
    burial->job = (struct record_job){.reply_to = &publisher->mailbox,
                                      .unparked = burial->numbers,
                                      .unparked_count = burial->count};
    recorder_submit(publisher->recorder, &burial->job);
}

bool publisher_bury_answered(struct publisher *publisher, const struct mailbox_item *item,
                             int64_t now_us)
{
    struct burial *burial = publisher->burial;

    if (!burial || item != &burial->job.item)
        return false;
    if (!burial->published) {
        burial->published = !burial->job.failed;
        if (burial->published)
            remove_rows(publisher);
        else
            give_back(publisher); /* only a stop fails letters */
        return true;
    }
    burial->removing = false;
    burial->remove_us = now_us + REMOVE_AGAIN_US;
    if (!burial->job.failed)
        finish(publisher);
    else
        publisher_note_error(publisher, burial->job.fault.text);
    return true;
}

void publisher_bury_turn(struct publisher *publisher, int64_t now_us)
{
    struct burial *burial = publisher->burial;
    bool stops = atomic_load(&publisher->stop_asked);

    if (burial && burial->published && !burial->removing) {
        if (stops) /* they are at the place, and come there again */
            give_back(publisher);
        else if (now_us >= burial->remove_us)
            remove_rows(publisher);
    } else if (!burial && !stops && publisher->instance &&
               atomic_exchange(&publisher->bury_asked, false)) {
        begin(publisher, now_us);
    }
}

/* ---- the order ---- */

/* Who is told of them asks no more. */
static void take_unreadable(struct publisher *publisher, struct publisher_burial *ret_burial)
{
    pthread_mutex_lock(&publisher->status_lock);
    ret_burial->unreadable = publisher->unreadable;
    ret_burial->fault = publisher->unreadable_fault;
    publisher->unreadable = 0;
    pthread_mutex_unlock(&publisher->status_lock);
    if (ret_burial->unreadable)
        atomic_store(&publisher->bury_asked, false);
}

void publisher_bury(struct publisher *publisher, struct publisher_burial *ret_burial)
{
    struct lot_state waiting;

    /* In this order what is on its way is seen, however fast it is, see begin and finish. */
    lot_state(publisher->lot, &waiting);
    ret_burial->waiting = atomic_load(&publisher->burying);
    ret_burial->count = atomic_exchange(&publisher->buried, 0);
    ret_burial->unreadable = 0;
    if (!ret_burial->waiting)
        take_unreadable(publisher, ret_burial);
    if (ret_burial->waiting || ret_burial->unreadable || !waiting.waits)
        return;
    ret_burial->waiting = waiting.count < PARK_BURY_MOST ? waiting.count : PARK_BURY_MOST;
    atomic_store(&publisher->bury_asked, true);
    publisher_wake(publisher);
}
