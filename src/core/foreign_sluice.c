/* SPDX-License-Identifier: MIT
 * Letters that another sluice, or another mapping, published to a topic or queue. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/foreign_inside.h"

#define OWN FOREIGN_OWN

/* Names of the story, behind `sluice-`. Other headers that begin so are the message's. */
static const char *const names[] = {
    "id",       "mapping",  "revision",  "class",         "error",        "status",
    "attempts", "token",    "connector", "source",        "partition",    "position",
    "response", "timestamp", "key",      "first-failure", "last-failure", "payload-kept"};

const char *foreign_own_name(size_t index)
{
    return index < sizeof names / sizeof names[0] ? names[index] : NULL;
}

static bool is_own(struct sluice_bytes name)
{
    size_t prefix = strlen(OWN);

    if (name.size < prefix || memcmp(name.data, OWN, prefix) != 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (name.size - prefix == strlen(names[i]) &&
            memcmp((const char *)name.data + prefix, names[i], name.size - prefix) == 0)
            return true;
    return false;
}

/* The message as it was: without the story, and with its key where that was told by a header. */
static void take_message(struct foreign *foreign, const struct foreign_headers *headers,
                         const struct sluice_message *message)
{
    struct sluice_bytes key = foreign_find(headers, OWN "key", true);
    struct sluice_header *own = memory_new((headers->count + 1) * sizeof *own);

    foreign->memory = own;
    for (size_t i = 0; i < headers->count; i++)
        if (!is_own(headers->list[i].name))
            own[foreign->header_count++] = headers->list[i];
    foreign->headers = own;
    foreign->has_message = true;
    foreign->key = key.data ? key : message->key;
    foreign->payload = message->payload;
}

enum dead_letter_class foreign_class(struct sluice_bytes name)
{
    for (int class = DEAD_ATTEMPTS; class <= DEAD_LETTER_CLASS_LAST; class ++) {
        const char *known = dead_letter_class_name(class);

        if (name.size == strlen(known) && memcmp(name.data, known, name.size) == 0)
            return class;
    }
    return DEAD_FOREIGN;
}

/* What the headers say. */
static void read_story(struct foreign *foreign, const struct foreign_headers *headers)
{
    struct sluice_bytes kept = foreign_find(headers, OWN "payload-kept", true);
    struct sluice_bytes class = foreign_find(headers, OWN "class", true);
    uint64_t number;

    foreign->by = "sluice";
    foreign->class = foreign_class(class);
    foreign_take_place(foreign, headers, OWN "source", OWN "partition", OWN "position");
    foreign->token = foreign_find(headers, OWN "token", true);
    foreign->answer = foreign_find(headers, OWN "response", true);
    foreign->failed_ms = foreign_time(foreign_find(headers, OWN "last-failure", true));
    foreign->timestamp_ms = foreign_time(foreign_find(headers, OWN "timestamp", true));
    if (foreign->timestamp_ms)
        foreign->timestamp_kind = SLUICE_TIMESTAMP_CREATED;
    if (foreign_number(foreign_find(headers, OWN "attempts", true), &number) && number <= UINT32_MAX)
        foreign->attempts = (uint32_t)number;
    if (foreign_number(foreign_find(headers, OWN "status", true), &number) && number <= 999)
        foreign->status = (uint32_t)number;
    foreign_say(foreign, "", foreign_find(headers, OWN "error", true));
    if (kept.data) {
        foreign_say(foreign, "; its payload is kept on host ", kept);
        foreign_say(foreign, " as ", foreign_find(headers, OWN "id", true));
    }
}

static bool is_story(const struct foreign_headers *headers)
{
    return foreign_find(headers, OWN "class", true).data &&
           foreign_find(headers, OWN "mapping", true).data;
}

bool foreign_sluice_read(struct foreign *foreign, const struct foreign_headers *headers,
                         const struct sluice_message *message)
{
    struct sluice_bytes id = foreign_find(headers, OWN "id", true);
    struct foreign_headers word;

    /* The message itself may be such a record, of a letter that had come from elsewhere. */
    if (foreign_record_read(foreign, &message->payload, id.data ? &id : NULL))
        return true;
    if (is_story(headers)) {
        read_story(foreign, headers);
        if (!foreign_find(headers, OWN "payload-kept", true).data)
            take_message(foreign, headers, message);
        return true;
    }
    if (!foreign_word_read(&message->payload, &word, &foreign->memory))
        return false;
    read_story(foreign, &word);
    foreign->key = foreign_find(&word, OWN "key", true);
    foreign->has_message = true; /* what is left of it */
    return true;
}
