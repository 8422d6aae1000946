/* SPDX-License-Identifier: MIT */
#include "service/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sluice/connector.h>

#include "base/units.h"
#include "core/filter.h"
#include "service/options.h"

#define WIDTH  96
#define INDENT 16

struct writer {
    struct buffer *out;
    size_t column;
    struct buffer paragraph;
};

struct span {
    char text[UNITS_TEXT];
};

static const char *duration(int64_t us, struct span *span)
{
    return units_print_duration(us, span->text);
}

static const char *amount(size_t bytes, struct span *span)
{
    return units_print_bytes((int64_t)bytes, span->text);
}

#define DURATION(us)  duration(us, &(struct span){""})
#define AMOUNT(bytes) amount(bytes, &(struct span){""})

static const char *plural(uint32_t count)
{
    return count == 1 ? "" : "s";
}

/* ---- paragraphs ---- */

static void write_word(struct writer *writer, const char *word, size_t size)
{
    if (writer->column > INDENT && writer->column + 1 + size > WIDTH) {
        buffer_format(writer->out, "\n%*s", INDENT, "");
        writer->column = INDENT;
    }
    if (writer->column > INDENT) {
        buffer_add_text(writer->out, " ");
        writer->column++;
    }
    buffer_add(writer->out, word, size);
    writer->column += size;
}

/* Ends the paragraph: breaks it into lines behind its title. */
static void end_paragraph(struct writer *writer, const char *title)
{
    const char *word = buffer_text(&writer->paragraph);

    buffer_format(writer->out, "  %-*s", INDENT - 2, title);
    writer->column = INDENT;
    while (*(word += strspn(word, " "))) {
        size_t size = strcspn(word, " ");

        write_word(writer, word, size);
        word += size;
    }
    buffer_add_text(writer->out, "\n");
    buffer_reset(&writer->paragraph);
}

static void say(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds a sentence to the paragraph. */
static void say(struct writer *writer, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    buffer_format(&writer->paragraph, "%s ", sentence);
}

/* ---- the way of a message ---- */

static void explain_source(struct writer *writer, const struct mapping *mapping)
{
    const struct sluice_option *option;
    struct buffer values;
    int first = 1;

    buffer_init(&values, 4096);
    for (option = mapping->connector->options; option->name; option++) {
        if (!options_is_written(mapping->values, option->name))
            continue;
        buffer_format(&values, "%s%s ", first ? "" : ", ", option->name);
        options_print(mapping->values, option->name, &values);
        first = 0;
    }
    say(writer, "Messages come from %s (%.800s), received by %" PRIu32 " poller%s.",
        mapping->connector->name, buffer_text(&values), mapping->pollers, plural(mapping->pollers));
    buffer_fini(&values);
    end_paragraph(writer, "Source");
}

static void explain_filter(struct writer *writer, const struct mapping *mapping)
{
    const struct filter *filter = mapping->filter;

    if (!filter)
        return;
    say(writer, "It takes what matches %s: %.900s.",
        filter_patterns(filter) == 1 ? "this pattern" : "one of these patterns",
        mapping->filter_text);
    say(writer, "What does not is %s, without being invoked; what it cannot tell, because it is not "
                "JSON, becomes a dead letter.",
        mapping->keeps_filtered ? "kept as a dead letter" : "dropped");
    end_paragraph(writer, "Filter");
}

static void explain_collecting(struct writer *writer, const struct mapping *mapping)
{
    if (!mapping->collects)
        return;
    say(writer, "What comes was given up by something else: it is written to the dead letters, and "
                "settled once that is durable. The function is called when it is replayed, as follows.");
    end_paragraph(writer, "Receive");
}

static void explain_target(struct writer *writer, const struct mapping *mapping)
{
    static const char *const formats[] = {
        [ENVELOPE_LAMBDA] = "AWS Lambda's event as body",
        [ENVELOPE_JSON] = "a list of records in JSON as body",
        [ENVELOPE_RAW] = "the payload of one message as body",
    };
    const struct http_settings *target = &mapping->target;
    const struct concurrency_settings *concurrency = &mapping->rules.concurrency;

    say(writer, "Each batch is one POST to %.300s, with %s.", target->url,
        formats[mapping->rules.format]);
    if (concurrency->least == concurrency->most)
        say(writer, "At most %" PRIu32 " are in flight for each poller.", concurrency->most);
    else
        say(writer,
            "Between %" PRIu32 " and %" PRIu32
            " are in flight for each poller, as many as the function takes well.",
            concurrency->least, concurrency->most);
    say(writer, "An invocation may take %s, %s of that to connect.", DURATION(target->timeout_us),
        DURATION(target->connect_timeout_us));
    end_paragraph(writer, "Target");
}

static void explain_batches(struct writer *writer, const struct mapping *mapping)
{
    const struct batch_settings *batch = &mapping->rules.batch;

    if (batch->size == 1)
        say(writer, "Every message is invoked by itself.");
    else if (batch->window_us)
        say(writer,
            "A batch closes at %" PRIu32 " messages, at %s, or %s after its oldest message came, "
            "whichever is first.",
            batch->size, AMOUNT(batch->bytes), DURATION(batch->window_us));
    else
        say(writer,
            "A batch takes what is there, up to %" PRIu32 " messages or %s, and does not wait.",
            batch->size, AMOUNT(batch->bytes));
    if (batch->size > 1)
        say(writer, "A message larger than %s goes alone.", AMOUNT(batch->bytes));
    end_paragraph(writer, "Batches");
}

static void explain_order(struct writer *writer, const struct mapping *mapping)
{
    switch (mapping->rules.order) {
    case ORDER_LANE:
        say(writer, "The messages of a lane are invoked in order: one batch of a lane at a time, "
                    "while different lanes go on beside each other.");
        break;
    case ORDER_KEY:
        say(writer,
            "Messages with the same key are invoked in order, one after the other; different "
            "keys go on beside each other.");
        break;
    case ORDER_NONE:
        say(writer, "No order is kept: batches are invoked beside each other.");
        break;
    }
    if (mapping->rules.order != ORDER_NONE)
        say(writer,
            "A message that steps aside as a suspect, or becomes a dead letter, does not hold "
            "up those after it.");
    end_paragraph(writer, "Order");
}

/* ---- what goes wrong ---- */

static void explain_down(struct writer *writer, const struct mapping *mapping)
{
    say(writer,
        "If the function is down (no connection, 429, 503), no attempt is counted: messages "
        "wait at their source, single probes go out, and work goes on when one succeeds.");
    if (mapping->rules.retry.age_us)
        say(writer, "Messages that wait longer than retry.age (%s) become dead letters.",
            DURATION(mapping->rules.retry.age_us));
    else
        say(writer, "There is no limit to that: an outage of any length makes no dead letters.");
    say(writer,
        "401, 403, 404 and 410 pause the mapping, which probes the function again after %s, then "
        "after growing pauses of up to %s.",
        DURATION(mapping->rules.retry.probe_first_us),
        DURATION(mapping->rules.retry.probe_most_us));
    end_paragraph(writer, "Function down");
}

static void explain_place(struct writer *writer, const struct mapping *mapping)
{
    say(writer,
        "What is given up goes to %.200s as %s, and is settled when that is confirmed; while it cannot "
        "be written there its lane waits.",
        mapping->letters_to.text,
        mapping->letters_to.format == LETTER_AWS ? "AWS's record of a failure"
                                                 : "the message that it was");
    say(writer, "What is too large for it is kept in the state directory: see `sluice dlq ls %s`.",
        mapping->name);
}

static void explain_bad(struct writer *writer, const struct mapping *mapping)
{
    const struct retry_settings *retry = &mapping->rules.retry;

    say(writer,
        "A message that fails is tried %" PRIu32 " time%s, after pauses that grow from %s to %s.",
        retry->attempts, plural(retry->attempts), DURATION(retry->backoff_first_us),
        DURATION(retry->backoff_most_us));
    if (retry->park_after_us && mapping->rules.order != ORDER_LANE &&
        retry->backoff_most_us > retry->park_after_us)
        say(writer,
            "One that waits longer than %s is parked meanwhile: kept in the state directory and settled "
            "at its source%s.",
            DURATION(retry->park_after_us),
            mapping->rules.order == ORDER_KEY ? ", with what comes after it of its key" : "");
    if (mapping->rules.batch.size > 1 && retry->split)
        say(writer,
            "A failing batch is tried again in halves, which costs no attempt, until the bad "
            "message stands alone.");
    if (mapping->rules.partial_response)
        say(writer,
            "Where the function names the messages that failed, only those are tried again.");
    if (retry->patience_us)
        say(writer,
            "Before it is given up, it steps aside until a later message succeeds, so that an "
            "outage "
            "is not taken for a bad message; if none comes within %s, it is given up all the same.",
            DURATION(retry->patience_us));
    else
        say(writer, "Then it is given up, whether or not the function works for others.");
    if (mapping->letters_to.connector) {
        explain_place(writer, mapping);
    } else if (mapping->dead_letter_keep_us)
        say(writer, "What is given up is kept as a dead letter for %s: see `sluice dlq ls %s`.",
            DURATION(mapping->dead_letter_keep_us), mapping->name);
    else
        say(writer, "What is given up is kept as a dead letter for ever: see `sluice dlq ls %s`.",
            mapping->name);
    if (mapping->dead_letter_limits.count || mapping->dead_letter_limits.bytes)
        say(writer, "%s",
            mapping->dead_letter_limits.drop_oldest
                ? "At dead_letter.max_count or max_bytes the oldest of them are dropped."
                : "At dead_letter.max_count or max_bytes the lane waits until there is room.");
    end_paragraph(writer, "Bad message");
}

static void describe_token(const struct token_settings *token, char *text, size_t size)
{
    switch (token->source) {
    case TOKEN_POSITION:
        snprintf(text, size, "its position at the source");
        break;
    case TOKEN_MESSAGE_ID:
        snprintf(text, size, "its message id");
        break;
    case TOKEN_KEY:
        snprintf(text, size, "its key");
        break;
    case TOKEN_HEADER:
        snprintf(text, size, "its header %.100s", token->argument);
        break;
    case TOKEN_POINTER:
        snprintf(text, size, "%.100s in its payload", token->argument);
        break;
    case TOKEN_HASH:
        snprintf(text, size, "the hash of its payload");
        break;
    case TOKEN_IDENTITY:
        snprintf(text, size, "the name that its source gives it");
        break;
    }
}

static void explain_duplicate(struct writer *writer, const struct mapping *mapping)
{
    static const char *const conflicts[] = {
        [TOKEN_CONFLICT_DEAD_LETTER] = "becomes a dead letter",
        [TOKEN_CONFLICT_INVOKE] = "is invoked all the same",
        [TOKEN_CONFLICT_DROP] = "is dropped",
    };
    const struct token_settings *token = &mapping->rules.token;
    bool is_stable = mapping->capabilities & SLUICE_HAS_STABLE_IDENTITY;
    char name[160] = "";

    describe_token(token, name, sizeof name);
    if (token->source == TOKEN_POSITION) {
        say(writer,
            "A message is named by %s: one that the source delivers again after it was done "
            "is a duplicate, and is not invoked again.",
            name);
        say(writer, "The same content sent twice is two messages.");
    } else {
        say(writer,
            "A message is named by %s: another with the same within %s of the first being done is "
            "a "
            "duplicate, and is not invoked.",
            name, DURATION(token->ttl_us));
        if (token->source != TOKEN_HASH) {
            say(writer, "With another payload under the same name it %s.",
                conflicts[token->on_conflict]);
            say(writer, "A message without it %s.",
                token->on_missing == TOKEN_MISSING_DEAD_LETTER ? "becomes a dead letter"
                : is_stable ? "is named by its position"
                            : "is invoked again when the source delivers it again");
        }
    }
    end_paragraph(writer, "Duplicate");
}

/* ---- running ---- */

static void explain_memory(struct writer *writer, const struct mapping *mapping)
{
    const struct rules *rules = &mapping->rules;
    /* A body in base64 within JSON takes about 4/3 of the bytes; the rest is names and numbers. */
    size_t invocation = rules->batch.bytes * 2 + mapping->target.response_bytes;
    size_t bound = (rules->buffer_bytes + rules->concurrency.most * invocation) * mapping->pollers;
    size_t mib = (bound >> 20) + 1;

    say(writer,
        "For each poller at most %" PRIu32
        " messages or %s are received and neither done nor given up, and at most "
        "%" PRIu32 " invocations are in flight: about %zu MiB at the very most, besides the "
        "connector's own buffers.",
        rules->buffer_messages, AMOUNT(rules->buffer_bytes), rules->concurrency.most, mib);
    say(writer,
        "A lane waits when its newest message is %" PRIu32 " ahead of its oldest unfinished one.",
        rules->distance);
    end_paragraph(writer, "Memory");
}

static void explain_restart(struct writer *writer, const struct mapping *mapping)
{
    say(writer,
        "A stop waits up to %s for invocations in flight. Whatever was not finished, also after a "
        "crash or power loss, is delivered by the source again and invoked with the same token; "
        "what "
        "was finished is not.",
        DURATION(mapping->drain_us));
    end_paragraph(writer, "Restart");
}

void explain_mapping(const struct mapping *mapping, struct buffer *text)
{
    struct writer writer = {.out = text};

    buffer_init(&writer.paragraph, 16 * 1024);
    buffer_format(text, "%s (%s, revision %s)\n", mapping->name, mapping->file, mapping->revision);
    explain_source(&writer, mapping);
    explain_filter(&writer, mapping);
    explain_collecting(&writer, mapping);
    explain_target(&writer, mapping);
    explain_batches(&writer, mapping);
    explain_order(&writer, mapping);
    explain_down(&writer, mapping);
    explain_bad(&writer, mapping);
    explain_duplicate(&writer, mapping);
    explain_memory(&writer, mapping);
    explain_restart(&writer, mapping);
    buffer_fini(&writer.paragraph);
}
