/* SPDX-License-Identifier: MIT */
#include "rabbitmq.h"

#include <stdlib.h>

#define FIRST_ROOM 256

enum { TAG_OUT = 0, TAG_DONE, TAG_GONE };

static struct rabbit_tag *at(const struct rabbit_tags *tags, uint64_t tag)
{
    return &tags->ring[tag & (tags->room - 1)];
}

void rabbit_tags_fini(struct rabbit_tags *tags)
{
    free(tags->ring);
    *tags = (struct rabbit_tags){0};
}

static int grow(struct rabbit_tags *tags)
{
    size_t room = tags->room ? tags->room * 2 : FIRST_ROOM;
    struct rabbit_tag *ring = calloc(room, sizeof *ring);

    if (!ring)
        return -1;
    for (uint64_t tag = tags->oldest; tag < tags->next; tag++)
        ring[tag & (room - 1)] = *at(tags, tag);
    free(tags->ring);
    tags->ring = ring;
    tags->room = room;
    return 0;
}

int rabbit_tags_add(struct rabbit_tags *tags, uint64_t tag, uint64_t offset, int64_t now_us)
{
    if (!tags->next)
        tags->oldest = tags->next = 1;
    if (tag != tags->next || (tags->next - tags->oldest == tags->room && grow(tags)))
        return -1;
    tags->next++;
    *at(tags, tag) = (struct rabbit_tag){now_us, offset, TAG_OUT};
    return 0;
}

static void drop_gone(struct rabbit_tags *tags)
{
    while (tags->oldest < tags->next && at(tags, tags->oldest)->state == TAG_GONE)
        tags->oldest++;
}

static bool is_out(const struct rabbit_tags *tags, uint64_t tag)
{
    return tag >= tags->oldest && tag < tags->next && at(tags, tag)->state == TAG_OUT;
}

bool rabbit_tags_done(struct rabbit_tags *tags, uint64_t tag)
{
    if (!is_out(tags, tag))
        return false;
    at(tags, tag)->state = TAG_DONE;
    tags->done++;
    return true;
}

void rabbit_tags_done_to(struct rabbit_tags *tags, uint64_t offset)
{
    for (uint64_t tag = tags->oldest; tag < tags->next && at(tags, tag)->offset <= offset; tag++)
        rabbit_tags_done(tags, tag);
}

bool rabbit_tags_gone(struct rabbit_tags *tags, uint64_t tag)
{
    if (!is_out(tags, tag))
        return false;
    at(tags, tag)->state = TAG_GONE;
    drop_gone(tags);
    return true;
}

uint64_t rabbit_tags_take_prefix(struct rabbit_tags *tags)
{
    uint64_t last = 0;

    while (tags->oldest < tags->next && at(tags, tags->oldest)->state != TAG_OUT) {
        if (at(tags, tags->oldest)->state == TAG_DONE) {
            tags->done--;
            last = tags->oldest;
        }
        tags->oldest++;
    }
    return last;
}

uint64_t rabbit_tags_take_single(struct rabbit_tags *tags, uint64_t after)
{
    uint64_t tag = after < tags->oldest ? tags->oldest : after + 1;

    if (!tags->done)
        return 0;
    while (tag < tags->next && at(tags, tag)->state != TAG_DONE)
        tag++;
    if (tag >= tags->next)
        return 0;
    at(tags, tag)->state = TAG_GONE;
    tags->done--;
    drop_gone(tags);
    return tag;
}

int64_t rabbit_tags_oldest_us(const struct rabbit_tags *tags)
{
    for (uint64_t tag = tags->oldest; tag < tags->next; tag++)
        if (at(tags, tag)->state == TAG_OUT)
            return at(tags, tag)->delivered_us;
    return 0;
}
