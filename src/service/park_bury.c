/* SPDX-License-Identifier: MIT */
#include "service/park_bury.h"

#include <stdio.h>

#include "base/clock.h"
#include "io/dead_letter_store.h"

struct burial {
    struct dead_letter_store *letters;
    struct fault *fault;
    bool failed;
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

/* Buries so many of the rows, or what comes before one that fails. Returns how many. */
static size_t bury_rows(struct parked_store *store, struct burial *burial, const int64_t *numbers,
                        size_t count)
{
    size_t buried = 0;

    while (buried < count && !burial->failed)
        if (parked_store_read(store, numbers[buried], bury_row, burial, burial->fault) < 0)
            burial->failed = true;
        else if (!burial->failed)
            buried++;
    if (buried && parked_store_remove(store, numbers, buried, burial->fault) != 0) {
        burial->failed = true;
        return 0; /* they come again, and their letters are there once */
    }
    return buried;
}

int park_bury(struct park *park, const char *mapping, size_t *ret_count, struct fault *fault)
{
    struct lot *lot = park_lot(park, mapping);
    int64_t numbers[PARK_BURY_MOST];
    struct parked_store *store = parked_store_open(park_directory(park), true, fault);
    struct burial burial = {.fault = fault, .failed = true};
    size_t count = 0;

    if (store)
        burial.letters =
            dead_letter_store_sqlite_open(park_directory(park), DEAD_LETTER_WRITE, fault);
    if (burial.letters) {
        size_t taken = lot_take(lot, INT64_MAX, PARK_BURY_MOST, SIZE_MAX, numbers);

        burial.failed = false;
        count = bury_rows(store, &burial, numbers, taken);
        for (size_t i = 0; i < taken; i++)
            if (i < count)
                lot_remove(lot, numbers[i]);
            else
                lot_back(lot, numbers[i], -1);
        burial.letters->ops->close(burial.letters);
    }
    parked_store_close(store);
    *ret_count = count;
    return burial.failed ? -1 : 0;
}
