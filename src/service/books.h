/* SPDX-License-Identifier: MIT
 * What is kept of a mapping, by its name, beyond the life of its pollers: a reload makes new ones, a
 * replay has one of its own, and whoever looks in comes from another thread. */
#ifndef SERVICE_BOOKS_H
#define SERVICE_BOOKS_H

#include "service/lane_slots.h"
#include "service/meter.h"
#include "service/tap.h"
#include "service/tracer.h"

struct book {
    char *mapping;
    struct lane_slots *lanes; /* that have series of their own */
    struct tap *tap;
    struct meter meter;
    struct tracer *tracer; /* the service's; NULL: off */
};

struct books;

/* `lanes`: how many of each mapping get series of their own. The tracer is borrowed. */
struct books *books_new(uint32_t lanes, struct tracer *tracer);
/* No poller may work with a book of it any more. NULL is fine. */
void books_free(struct books *books);

/* Any thread. The mapping's book, made where there is none; valid until books_free. */
struct book *books_of(struct books *books, const char *mapping);

/* Any thread. Calls `see` for all of them; new ones wait meanwhile. */
void books_each(struct books *books, void (*see)(void *argument, struct book *book),
                void *argument);

/* Any thread, a few times a second: gives back what nobody needs any more. */
void books_tidy(struct books *books, int64_t now_us);

#endif
