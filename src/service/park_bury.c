/* SPDX-License-Identifier: MIT */
#include "service/park_bury.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/dead_letter_store.h"

struct burial {
    struct dead_letter_store *letters;
    struct fault *fault;
    bool failed;
    struct park_unreadable unreadable;
    struct fault unreadable_fault;
};

void park_bury_letter(const struct parked *parked, char reason[PARK_BURY_REASON],
                      struct dead_letter *ret_letter)
{
    const struct dead_letter *letter = &parked->letter;
    const char *error =
        letter->attempts_kept ? letter->attempts[letter->attempts_kept - 1].error : "";

    snprintf(reason, PARK_BURY_REASON, "it was buried while it was parked%s%s",
             *error ? "; last: " : "", error);
    *ret_letter = *letter;
    ret_letter->class = DEAD_BURIED;
    ret_letter->reason = reason;
    ret_letter->dead_wall_us = clock_wall();
}

static int bury_row(void *argument, const struct parked *parked)
{
    struct burial *burial = argument;
    char reason[PARK_BURY_REASON];
    struct dead_letter letter;

    park_bury_letter(parked, reason, &letter);
    burial->failed = burial->letters->ops->add(burial->letters, &letter, 1, burial->fault) != 0;
    return 0;
}

void park_unreadable_add(struct park_unreadable *unreadable, int64_t number)
{
    if (unreadable->count == unreadable->room) {
        unreadable->room = unreadable->room ? unreadable->room * 2 : 16;
        unreadable->numbers =
            memory_resize(unreadable->numbers, unreadable->room, sizeof *unreadable->numbers);
    }
    unreadable->numbers[unreadable->count++] = number;
}

void park_unreadable_back(struct park_unreadable *unreadable, struct lot *lot, int64_t due_wall_us)
{
    for (size_t i = 0; i < unreadable->count; i++)
        lot_back(lot, unreadable->numbers[i], due_wall_us);
    free(unreadable->numbers);
    *unreadable = (struct park_unreadable){NULL, 0, 0};
}

/* Buries what can be read of the rows, whose numbers then come first, or what comes before one that fails to
 * be written. Returns how many. */
static size_t bury_rows(struct parked_store *store, struct burial *burial, int64_t *numbers,
                        size_t *count)
{
    size_t buried = 0, at = 0;

    while (at < *count && !burial->failed)
        if (parked_store_read(store, numbers[at], bury_row, burial, &burial->unreadable_fault) < 0) {
            park_unreadable_add(&burial->unreadable, numbers[at]);
            memmove(numbers + at, numbers + at + 1, (--*count - at) * sizeof *numbers);
        } else if (!burial->failed) {
            buried = ++at;
        }
    if (buried && parked_store_remove(store, numbers, buried, burial->fault) != 0) {
        burial->failed = true;
        return 0; /* they come again, and their letters are there once */
    }
    return buried;
}

/* Takes on until something is buried, so that what cannot be read does not stand before it. */
static size_t bury(struct lot *lot, struct parked_store *store, struct burial *burial)
{
    int64_t numbers[PARK_BURY_MOST];
    size_t count, buried = 0;

    while (!buried && !burial->failed &&
           (count = lot_take(lot, INT64_MAX, PARK_BURY_MOST, SIZE_MAX, numbers))) {
        buried = bury_rows(store, burial, numbers, &count);
        for (size_t i = 0; i < count; i++)
            if (i < buried)
                lot_remove(lot, numbers[i]);
            else
                lot_back(lot, numbers[i], -1);
    }
    return buried;
}

int park_bury(struct park *park, const char *mapping, struct park_burial *ret_burial,
              struct fault *fault)
{
    struct lot *lot = park_lot(park, mapping);
    struct parked_store *store = parked_store_open(park_directory(park), true, fault);
    struct burial burial = {.fault = fault, .failed = true};

    *ret_burial = (struct park_burial){.count = 0};
    if (store)
        burial.letters =
            dead_letter_store_sqlite_open(park_directory(park), DEAD_LETTER_WRITE, fault);
    if (burial.letters) {
        burial.failed = false;
        ret_burial->count = bury(lot, store, &burial);
        if (!ret_burial->count && !burial.failed)
            ret_burial->unreadable = burial.unreadable.count;
        ret_burial->fault = burial.unreadable_fault;
        park_unreadable_back(&burial.unreadable, lot, -1);
        burial.letters->ops->close(burial.letters);
    }
    parked_store_close(store);
    return burial.failed ? -1 : 0;
}
