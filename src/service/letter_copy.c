/* SPDX-License-Identifier: MIT */
#include "service/letter_copy.h"

#include <string.h>

#include "base/memory.h"

/* Goes over a letter twice: to count, with `at` NULL, and to copy. */
struct writer {
    char *at;
    size_t size;
};

static void *keep(struct writer *writer, const void *data, size_t size)
{
    void *kept = writer->at ? writer->at + writer->size : NULL;

    if (kept && size)
        memcpy(kept, data, size);
    writer->size += size;
    return kept;
}

static const char *keep_text(struct writer *writer, const char *text)
{
    return text ? keep(writer, text, strlen(text) + 1) : NULL;
}

static struct sluice_bytes keep_bytes(struct writer *writer, struct sluice_bytes bytes)
{
    return bytes.data ? (struct sluice_bytes){keep(writer, bytes.data, bytes.size), bytes.size}
                      : (struct sluice_bytes){NULL, 0};
}

static const char *keep_token(struct writer *writer, const struct dead_letter *letter)
{
    const char *kept = keep(writer, letter->token, dead_letter_token_size(letter));

    keep(writer, "", 1);
    return kept;
}

/* What is aligned comes first. */
static void write(struct writer *writer, const struct dead_letter *letter)
{
    struct dead_letter *copy = keep(writer, letter, sizeof *letter);
    struct sluice_header *headers =
        keep(writer, letter->headers, letter->header_count * sizeof *headers);
    const struct dead_letter_attempt *attempts =
        keep(writer, letter->attempts, letter->attempts_kept * sizeof *attempts);
    struct dead_letter kept = *letter;

    kept.headers = headers;
    kept.attempts = attempts;
    kept.mapping = keep_text(writer, letter->mapping);
    kept.revision = keep_text(writer, letter->revision);
    kept.connector = keep_text(writer, letter->connector);
    kept.lane = keep_text(writer, letter->lane);
    kept.source = keep_text(writer, letter->source);
    kept.reason = keep_text(writer, letter->reason);
    kept.found_lane = keep_text(writer, letter->found_lane);
    kept.token = keep_token(writer, letter);
    kept.message_id = keep_bytes(writer, letter->message_id);
    kept.identity = keep_bytes(writer, letter->identity);
    kept.key = keep_bytes(writer, letter->key);
    kept.payload = keep_bytes(writer, letter->payload);
    kept.response = keep_bytes(writer, letter->response);
    kept.original = keep_bytes(writer, letter->original);
    for (size_t i = 0; i < letter->header_count; i++) {
        const struct sluice_header header = {keep_bytes(writer, letter->headers[i].name),
                                             keep_bytes(writer, letter->headers[i].value)};

        if (headers)
            headers[i] = header;
    }
    if (copy)
        *copy = kept;
}

struct dead_letter *letter_copy(const struct dead_letter *letter)
{
    struct writer writer = {NULL, 0};
    struct dead_letter *copy;

    write(&writer, letter);
    copy = memory_new(writer.size);
    writer = (struct writer){(char *)copy, 0};
    write(&writer, letter);
    return copy;
}
