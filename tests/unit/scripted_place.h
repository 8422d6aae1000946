/* SPDX-License-Identifier: MIT
 * A place for dead letters under a test's hand: a connector that keeps what it is given, and answers as it is
 * told. Include after cmocka.h. */
#ifndef SCRIPTED_PLACE_H
#define SCRIPTED_PLACE_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <sluice/connector.h>

#include "base/clock.h"

#define PATIENCE_US (20 * CLOCK_SECOND)
#define EVENTS      256

/* As assert_true, on threads that are not the test's. */
static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* What it was given, each try of its own. */
struct piece {
    void *cookie; /* NULL once it is answered */
    char name[16]; /* the letter's token */
    char id[32];
    size_t bytes;
    bool pointer; /* it tells that the payload is kept */
};

enum answer { CONFIRM, FAIL, NEVER, STATE };

struct command {
    enum answer answer;
    size_t piece;
    uint32_t state;
    char text[64];
};

struct script {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece pieces[EVENTS];
    size_t piece_count;
    struct command orders[EVENTS];
    size_t order_count, orders_done;
    atomic_bool refuses; /* publish takes nothing */
    atomic_int confirmed;
    char confirmed_names[EVENTS][16]; /* those with their payload */
};

static struct script place;

static int place_open(struct sluice_host *host, const struct sluice_host_api *api,
                      const struct sluice_values *values, void **ret_instance)
{
    (void)values;
    place.host = host;
    place.api = api;
    *ret_instance = &place;
    return 0;
}

static int place_start(void *instance, const char *name)
{
    struct script *self = instance;

    must(strncmp(name, "sluice-m-letters@", 17) == 0, name);
    self->api->state(self->host, SLUICE_STATE_RUNNING, NULL);
    return 0;
}

static int place_descriptor(void *instance)
{
    return ((struct script *)instance)->fd;
}

static void read_header(struct piece *piece, const struct sluice_header *header)
{
    if (header->name.size == 12 && !memcmp(header->name.data, "sluice-token", 12))
        snprintf(piece->name, sizeof piece->name, "%.*s", (int)header->value.size,
                 (const char *)header->value.data);
    if (header->name.size == 9 && !memcmp(header->name.data, "sluice-id", 9))
        snprintf(piece->id, sizeof piece->id, "%.*s", (int)header->value.size,
                 (const char *)header->value.data);
    if (header->name.size == 19 && !memcmp(header->name.data, "sluice-payload-kept", 19))
        piece->pointer = true;
}

static int place_publish(void *instance, const struct sluice_publication *publication)
{
    struct script *self = instance;
    struct piece *piece;

    if (self->refuses)
        return -1;
    pthread_mutex_lock(&self->lock);
    must(self->piece_count < EVENTS, "too many pieces");
    piece = &self->pieces[self->piece_count++];
    piece->cookie = publication->cookie;
    piece->bytes = publication->payload.size;
    for (size_t i = 0; i < publication->header_count; i++)
        read_header(piece, &publication->headers[i]);
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return 0;
}

static void obey(struct script *self, const struct command *order)
{
    struct piece *piece = &self->pieces[order->piece];
    void *cookie = piece->cookie;

    if (order->answer == STATE) {
        self->api->state(self->host, order->state, order->text[0] ? order->text : NULL);
        return;
    }
    piece->cookie = NULL;
    must(cookie != NULL, "a piece is answered twice");
    if (order->answer == CONFIRM && !piece->pointer)
        memcpy(self->confirmed_names[self->confirmed++], piece->name, sizeof piece->name);
    if (order->answer == NEVER)
        self->api->unpublishable(self->host, cookie, order->text);
    else
        self->api->published(self->host, cookie, order->answer == FAIL ? order->text : NULL);
}

static int64_t place_receive(void *instance, const struct sluice_room *room)
{
    struct script *self = instance;
    uint64_t count;

    must(room->messages == 0, "room for messages");
    if (read(self->fd, &count, sizeof count) < 0)
        count = 0;
    pthread_mutex_lock(&self->lock);
    while (self->orders_done < self->order_count)
        obey(self, &self->orders[self->orders_done++]);
    pthread_mutex_unlock(&self->lock);
    return CLOCK_SECOND;
}

/* As the ABI has it: what is under way is told as given up. */
static void place_close(void *instance)
{
    struct script *self = instance;

    for (size_t i = 0; i < self->piece_count; i++) {
        void *cookie = self->pieces[i].cookie;

        self->pieces[i].cookie = NULL;
        if (cookie)
            self->api->published(self->host, cookie, "the connector is closed");
    }
}

static const struct sluice_option no_options[] = {{0}};

static const struct sluice_connector connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof(struct sluice_connector),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = SLUICE_CAN_PUBLISH,
    .name = "place",
    .options = no_options,
    .start = place_start,
    .descriptor = place_descriptor,
    .receive = place_receive,
    .publish = place_publish,
    .close = place_close,
    .open_publisher = place_open,
};

static void open_place(void)
{
    memset(&place, 0, sizeof place);
    place.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&place.lock, NULL);
    pthread_cond_init(&place.changed, NULL);
}

/* ---- what the test says and waits for ---- */

/* Until the place was given so many pieces in all. */
static void await_pieces(size_t count)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_US / CLOCK_SECOND;
    pthread_mutex_lock(&place.lock);
    while (place.piece_count < count)
        if (pthread_cond_timedwait(&place.changed, &place.lock, &until)) {
            size_t found = place.piece_count;

            pthread_mutex_unlock(&place.lock);
            fail_msg("%zu of %zu pieces within 20 s", found, count);
        }
    pthread_mutex_unlock(&place.lock);
}

static __attribute__((unused)) void assert_name(size_t piece, const char *name)
{
    pthread_mutex_lock(&place.lock);
    assert_string_equal(place.pieces[piece].name, name);
    pthread_mutex_unlock(&place.lock);
}

static void tell(struct command order)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&place.lock);
    assert_true(place.order_count < EVENTS);
    place.orders[place.order_count++] = order;
    pthread_mutex_unlock(&place.lock);
    assert_int_equal(write(place.fd, &one, sizeof one), sizeof one);
}

static __attribute__((unused)) void confirm(size_t piece)
{
    tell((struct command){.answer = CONFIRM, .piece = piece});
}

static __attribute__((unused)) void refuse(size_t piece)
{
    tell((struct command){.answer = FAIL, .piece = piece, .text = "no room"});
}

#endif
