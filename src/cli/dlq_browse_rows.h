/* SPDX-License-Identifier: MIT
 * Letters of another place as lines: printed as they come, or the first of an order held and printed at the
 * end. */
#ifndef CLI_DLQ_BROWSE_ROWS_H
#define CLI_DLQ_BROWSE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/dlq_browse_letter.h"
#include "cli/dlq_inside.h"

#define BROWSE_BYTES_MOST ((size_t)64 << 20) /* held, unless set */

struct browse_row;

struct browse_rows {
    /* Set before. limit 0: all, printed as they come. */
    struct dlq_screen screen;
    bool json;
    enum dead_letter_sort sort;
    uint32_t limit;
    size_t bytes_most; /* held before the last of the order are left out; 0: BROWSE_BYTES_MOST */

    uint64_t added;
    bool cut; /* fewer than the limit are shown, as more would take more than `bytes_most` */

    struct browse_row *rows; /* the rest is its own */
    size_t count, room, bytes;
    bool headed;
};

/* `collected`: what became of it; NULL: it was not collected here. */
void browse_rows_add(struct browse_rows *rows, const struct browse_letter *letter,
                     const struct dead_letter_collected *collected);
/* Prints what is held. */
void browse_rows_end(struct browse_rows *rows);
void browse_rows_fini(struct browse_rows *rows);

#endif
