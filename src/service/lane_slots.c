/* SPDX-License-Identifier: MIT */
#include "service/lane_slots.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/memory.h"

struct slot {
    char *name;      /* NULL: never taken */
    char *label;
    uint32_t users;  /* pollers that have the lane open */
    int64_t left_us; /* when the last of them gave it back */
};

struct lane_slots {
    pthread_mutex_t mutex;
    uint32_t most;
    struct slot *slots;
};

struct lane_slots *lane_slots_new(uint32_t most)
{
    struct lane_slots *slots = memory_zero(1, sizeof *slots);

    slots->most = most;
    slots->slots = memory_zero(most + 1, sizeof *slots->slots);
    pthread_mutex_init(&slots->mutex, NULL);
    return slots;
}

void lane_slots_free(struct lane_slots *slots)
{
    if (!slots)
        return;
    for (uint32_t i = 0; i < slots->most; i++) {
        free(slots->slots[i].name);
        free(slots->slots[i].label);
    }
    free(slots->slots);
    pthread_mutex_destroy(&slots->mutex);
    free(slots);
}

uint32_t lane_slots_most(const struct lane_slots *slots)
{
    return slots->most;
}

/* What cannot be a label of its own, or would be taken for another one. */
static bool is_nameless(const char *name)
{
    size_t size = strnlen(name, LANE_SLOTS_NAME + 1);

    return size > LANE_SLOTS_NAME || !json_text_is_utf8(name, size) || !strcmp(name, "other");
}

static char *escape(const char *name)
{
    char *label = memory_new(2 * strlen(name) + 1), *out = label;

    for (; *name; name++) {
        if (*name == '\\' || *name == '"' || *name == '\n')
            *out++ = '\\';
        *out++ = *name == '\n' ? 'n' : *name;
    }
    *out = '\0';
    return label;
}

/* The lane's own place; else one that nobody has had, or that was left longest ago; `most`: none. */
static uint32_t find(const struct lane_slots *slots, const char *name, int64_t now_us)
{
    uint32_t best = slots->most;
    int64_t best_us = now_us - LANE_SLOTS_KEPT_US + 1;

    for (uint32_t i = 0; i < slots->most; i++) {
        const struct slot *slot = &slots->slots[i];

        if (!slot->name)
            return best == slots->most ? i : best; /* all that follow are free too */
        if (!strcmp(slot->name, name))
            return i;
        if (!slot->users && slot->left_us < best_us) {
            best = i;
            best_us = slot->left_us;
        }
    }
    return best;
}

uint32_t lane_slots_enter(struct lane_slots *slots, const char *name, int64_t now_us)
{
    uint32_t at;

    if (!slots->most || is_nameless(name))
        return slots->most;
    pthread_mutex_lock(&slots->mutex);
    at = find(slots, name, now_us);
    if (at < slots->most) {
        struct slot *slot = &slots->slots[at];

        if (!slot->name || strcmp(slot->name, name) != 0) {
            free(slot->name);
            free(slot->label);
            slot->name = memory_text(name);
            slot->label = escape(name);
        }
        slot->users++;
    }
    pthread_mutex_unlock(&slots->mutex);
    return at;
}

void lane_slots_leave(struct lane_slots *slots, uint32_t slot, int64_t now_us)
{
    if (slot >= slots->most)
        return;
    pthread_mutex_lock(&slots->mutex);
    slots->slots[slot].users--;
    slots->slots[slot].left_us = now_us;
    pthread_mutex_unlock(&slots->mutex);
}

void lane_slots_lock(struct lane_slots *slots)
{
    pthread_mutex_lock(&slots->mutex);
}

void lane_slots_unlock(struct lane_slots *slots)
{
    pthread_mutex_unlock(&slots->mutex);
}

const char *lane_slots_label(const struct lane_slots *slots, uint32_t slot)
{
    return slot < slots->most ? slots->slots[slot].label : "other";
}

const char *lane_slots_name(const struct lane_slots *slots, uint32_t slot)
{
    return slot < slots->most ? slots->slots[slot].name : NULL;
}
