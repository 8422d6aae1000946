/* SPDX-License-Identifier: MIT
 * What the files of foreign.h share. Nothing else includes it. */
#ifndef CORE_FOREIGN_INSIDE_H
#define CORE_FOREIGN_INSIDE_H

#include <jansson.h>

#include "base/json_scan.h"
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

/* As dead_letter_class_name has it; DEAD_FOREIGN: no name of one. */
enum dead_letter_class foreign_class(struct sluice_bytes name);

/* foreign_record.c: false where the payload is no record that sluice wrote in AWS's format, or it is that
 * of another letter than `id` (NULL: any). */
bool foreign_record_read(struct foreign *foreign, const struct sluice_bytes *payload,
                         const struct sluice_bytes *id);

/* foreign_word.c: the headers that a payload tells which stands for a letter kept elsewhere (letter_word_write).
 * False where it is none. `*ret_memory` is the caller's, and has them. */
bool foreign_word_read(const struct sluice_bytes *payload, struct foreign_headers *ret_headers,
                       void **ret_memory);

#define FOREIGN_OWN "sluice-"
/* The names of our own headers behind that; NULL behind the last. */
const char *foreign_own_name(size_t index);

/* foreign_aws.c: false where the payload is no record of AWS's. */
bool foreign_aws_read(struct foreign *foreign, const struct sluice_bytes *payload);

#define FOREIGN_MEMBERS_MOST 32

/* The members of an object, as slices of its text. */
struct foreign_members {
    struct json_scan_member list[FOREIGN_MEMBERS_MOST];
    size_t count;
};

/* False where the text is no JSON, or has more members. */
bool foreign_members_read(struct foreign_members *members, const void *text, size_t size);
/* NULL: there is none. */
const struct json_scan_value *foreign_member(const struct foreign_members *members, const char *name);
/* The member as a tree, which may take twenty times as much, where it is an object of at most so many
 * bytes; NULL where not. The caller's. */
json_t *foreign_member_tree(const struct foreign_members *members, const char *name, size_t most);

#endif
