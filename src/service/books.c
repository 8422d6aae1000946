/* SPDX-License-Identifier: MIT */
#include "service/books.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct books {
    pthread_mutex_t mutex;
    uint32_t lanes;
    struct tracer *tracer;
    struct book **list; /* they stay where they are while the list grows */
    size_t count;
};

struct books *books_new(uint32_t lanes, struct tracer *tracer)
{
    struct books *books = memory_zero(1, sizeof *books);

    books->lanes = lanes;
    books->tracer = tracer;
    pthread_mutex_init(&books->mutex, NULL);
    return books;
}

void books_free(struct books *books)
{
    if (!books)
        return;
    for (size_t i = 0; i < books->count; i++) {
        lane_slots_free(books->list[i]->lanes);
        tap_free(books->list[i]->tap);
        free(books->list[i]->mapping);
        free(books->list[i]);
    }
    free(books->list);
    pthread_mutex_destroy(&books->mutex);
    free(books);
}

static struct book *add(struct books *books, const char *mapping)
{
    struct book *book = memory_zero(1, sizeof *book);

    book->mapping = memory_text(mapping);
    book->lanes = lane_slots_new(books->lanes);
    book->tap = tap_new();
    book->tracer = books->tracer;
    books->list = memory_resize(books->list, books->count + 1, sizeof(struct book *));
    books->list[books->count++] = book;
    return book;
}

struct book *books_of(struct books *books, const char *mapping)
{
    struct book *book = NULL;

    pthread_mutex_lock(&books->mutex);
    for (size_t i = 0; i < books->count && !book; i++)
        if (!strcmp(books->list[i]->mapping, mapping))
            book = books->list[i];
    if (!book)
        book = add(books, mapping);
    pthread_mutex_unlock(&books->mutex);
    return book;
}

void books_tidy(struct books *books, int64_t now_us)
{
    pthread_mutex_lock(&books->mutex);
    for (size_t i = 0; i < books->count; i++)
        tap_tidy(books->list[i]->tap, now_us);
    pthread_mutex_unlock(&books->mutex);
}

void books_each(struct books *books, void (*see)(void *argument, struct book *book), void *argument)
{
    pthread_mutex_lock(&books->mutex);
    for (size_t i = 0; i < books->count; i++)
        see(argument, books->list[i]);
    pthread_mutex_unlock(&books->mutex);
}
