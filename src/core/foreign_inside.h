/* SPDX-License-Identifier: MIT
 * What the files of foreign.h share. Nothing else includes it. */
#ifndef CORE_FOREIGN_INSIDE_H
#define CORE_FOREIGN_INSIDE_H

#include "core/foreign.h"

struct foreign_headers {
    const struct sluice_header *list;
    size_t count;
};

/* Appends to the reason, behind `before`, as far as there is room; nothing where the text is absent or
 * empty. Line breaks become spaces. */
void foreign_say(struct foreign *foreign, const char *before, struct sluice_bytes text);

/* `2026-01-31T08:00:00.000Z` in ms; 0 where it is none. */
int64_t foreign_time(struct sluice_bytes text);

/* foreign_sluice.c: false where sluice did not write it. */
bool foreign_sluice_read(struct foreign *foreign, const struct foreign_headers *headers,
                         const struct sluice_message *message);

/* The value of the first header of that name, or of the last: who adds to what is there appends. Absent
 * where there is none. */
struct sluice_bytes foreign_find(const struct foreign_headers *headers, const char *name, bool last);
/* A number as decimal text, or as 4 or 8 bytes, big-endian (which are never all digits: such a partition
 * or offset there is not). False where it is none. */
bool foreign_number(struct sluice_bytes bytes, uint64_t *ret);
/* Source, partition and position by those headers. */
void foreign_take_place(struct foreign *foreign, const struct foreign_headers *headers,
                        const char *topic, const char *partition, const char *offset);

/* foreign_aws.c: false where the payload is no record of AWS's. */
bool foreign_aws_read(struct foreign *foreign, const struct sluice_bytes *payload);

#endif
