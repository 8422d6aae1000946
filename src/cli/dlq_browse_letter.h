/* SPDX-License-Identifier: MIT
 * A message in a place for dead letters, read as the letter that it is, and whether it is chosen. */
#ifndef CLI_DLQ_BROWSE_LETTER_H
#define CLI_DLQ_BROWSE_LETTER_H

#include <jansson.h>

#include <sluice/connector.h>

#include "base/fault.h"
#include "core/foreign.h"
#include "io/dead_letter_store.h"

struct browse_letter {
    /* Slices of the message, of `foreign` and of what is below. `source` and `lane` "": not told where it came
     * from. `dead_wall_us`: when it was given up or, where that is not told, written there. */
    struct dead_letter letter;
    const char *by;       /* who wrote it; NULL: nobody that is known */
    const char *lane;     /* where it is now */
    uint64_t position;
    int64_t written_wall_us; /* there; 0: not told */
    uint32_t deliveries;     /* there, before this one, as it counts them; 0: none, or not told */
    struct foreign foreign;
    char *texts; /* of the letter, NUL-terminated */
};

void browse_letter_read(struct browse_letter *letter, const struct sluice_lane *lane,
                        const struct sluice_message *message, const struct sluice_header *headers,
                        size_t header_count);
void browse_letter_fini(struct browse_letter *letter);

/* `here`, `replayed`, `discarded` or `expired`. */
const char *browse_letter_fate(const struct dead_letter_collected *collected);

/* As dlq_json_letter has it, whole; `place`: by whom, lane, position and time of where it is; and
 * `collected`: what became of it here, null where NULL. */
json_t *browse_letter_json(const struct browse_letter *letter,
                           const struct dead_letter_collected *collected);

struct browse_filter;

/* The query is borrowed; its mapping, id prefix, sort and limit are not looked at. NULL with a
 * fault. */
struct browse_filter *browse_filter_new(const struct dead_letter_query *query, struct fault *fault);
/* Whether its replays are as asked for. */
bool browse_filter_passes_fate(const struct browse_filter *filter,
                               const struct dead_letter_collected *collected);
bool browse_filter_passes(struct browse_filter *filter, const struct dead_letter *letter);
void browse_filter_free(struct browse_filter *filter); /* NULL is fine */

#endif
