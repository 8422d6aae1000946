/* SPDX-License-Identifier: MIT */
#include "service/recorder_limits.h"

#define DROP_AT_ONCE 500

struct oldest {
    int64_t numbers[DROP_AT_ONCE];
    size_t count;
};

static int collect(void *argument, const struct dead_letter *letter)
{
    struct oldest *oldest = argument;

    oldest->numbers[oldest->count++] = letter->dead_wall_us;
    return oldest->count == DROP_AT_ONCE;
}

/* How many of the oldest are in the way, as far as counting tells; at least 1 where bytes are. */
static uint64_t too_many(const struct recorder_limits *limits, const struct dead_letter_usage *usage,
                         const struct dead_letter_usage *more)
{
    if (limits->count && usage->count + more->count > limits->count) {
        uint64_t over = usage->count + more->count - limits->count;

        return over < usage->count ? over : usage->count;
    }
    return limits->bytes && usage->count && usage->bytes + more->bytes > limits->bytes;
}

static int drop_some(struct dead_letter_store *store, const char *mapping, uint64_t count,
                     uint64_t *dropped, struct fault *fault)
{
    struct dead_letter_query query = {.mapping = mapping, .sort = DEAD_LETTER_OLDEST};
    struct oldest oldest = {.count = 0};
    int64_t removed;

    query.limit = count < DROP_AT_ONCE ? (uint32_t)count : DROP_AT_ONCE;
    if (store->ops->list(store, &query, 0, collect, &oldest, fault) != 0)
        return -1;
    removed = store->ops->remove(store, oldest.numbers, NULL, oldest.count, NULL, fault);
    if (removed <= 0)
        return removed < 0 ? -1 : fault_set(fault, "there is nothing left to drop");
    *dropped += (uint64_t)removed;
    return 0;
}

static struct dead_letter_usage size_of(const struct dead_letter *letters, size_t count)
{
    struct dead_letter_usage size = {0};

    for (size_t i = 0; i < count; i++) {
        if (letters[i].replay)
            continue;
        size.count++;
        size.bytes += letters[i].key.size + letters[i].payload.size;
        for (size_t h = 0; h < letters[i].header_count; h++)
            size.bytes += letters[i].headers[h].name.size + letters[i].headers[h].value.size;
    }
    return size;
}

int recorder_limits_make_room(struct dead_letter_store *store, const struct recorder_limits *limits,
                              const struct dead_letter *letters, size_t count,
                              uint64_t *ret_dropped, struct fault *fault)
{
    struct dead_letter_usage usage, more = size_of(letters, count);
    const char *mapping = count ? letters[0].mapping : NULL;
    uint64_t over;

    *ret_dropped = 0;
    if (!more.count || (!limits->count && !limits->bytes))
        return 0;
    for (;;) {
        if (store->ops->usage(store, mapping, &usage, fault) != 0)
            return -1;
        if (!limits->drop_oldest)
            break;
        over = too_many(limits, &usage, &more);
        if (!over)
            return 0;
        if (drop_some(store, mapping, over, ret_dropped, fault) != 0)
            return -1;
    }
    if ((limits->count && usage.count >= limits->count) ||
        (limits->bytes && usage.bytes >= limits->bytes))
        return fault_set(fault,
                         "%s has %llu dead letters with %llu bytes, as many as dead_letter.max_count "
                         "or max_bytes allow; replay or discard some, or raise the limit",
                         mapping, (unsigned long long)usage.count,
                         (unsigned long long)usage.bytes);
    return 0;
}
