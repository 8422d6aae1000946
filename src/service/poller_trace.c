/* SPDX-License-Identifier: MIT
 * The trace that an invocation is part of: which one, who is told of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service/poller_inside.h"

#define STATE_MOST 512 /* bytes of a tracestate that every participant should pass on */

static struct tracer *tracer_of(const struct poller *poller)
{
    return poller->context.book ? poller->context.book->tracer : NULL;
}

/* ---- what messages bring ---- */

static const struct sluice_header *find_header(const struct envelope_record *record,
                                               const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < record->header_count; i++)
        if (record->headers[i].name.size == size &&
            !strncasecmp(record->headers[i].name.data, name, size))
            return &record->headers[i];
    return NULL;
}

static bool read_parent(const struct envelope_record *record, struct trace_parent *ret_parent)
{
    const struct sluice_header *header =
        record->header_count ? find_header(record, "traceparent") : NULL;

    return header && trace_read(header->value.data, header->value.size, ret_parent);
}

/* What goes with the parent, as it is; what no header can carry is left out. */
static void add_state(struct buffer *headers, const struct envelope_record *record)
{
    const struct sluice_header *header = find_header(record, "tracestate");
    const char *text = header ? header->value.data : NULL;

    if (!text || !header->value.size || header->value.size > STATE_MOST)
        return;
    for (size_t i = 0; i < header->value.size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return;
    buffer_add_text(headers, "tracestate: ");
    buffer_add(headers, text, header->value.size);
    buffer_add(headers, "", 1);
}

/* ---- the span ---- */

static void copy_text(char *to, size_t room, const char *text)
{
    snprintf(to, room, "%s", text ? text : "");
}

static const char *text_option(const struct mapping *mapping, const char *name)
{
    return mapping->values && options_known(mapping->values, name)
               ? options_text(mapping->values, name)
               : NULL;
}

/* As OpenTelemetry names the systems that it knows. */
static const char *system_of(const struct poller *poller)
{
    const char *dialect = text_option(poller->mapping, "dialect");

    if (!dialect)
        return poller->connector->name;
    return !strcmp(dialect, "pubsub") ? "gcp_pubsub" : !strcmp(dialect, "sqs") ? "aws_sqs" : dialect;
}

/* Where the messages are from, as far as that is the same for all. */
static void describe_source(const struct poller *poller, struct span *span, size_t count)
{
    const struct envelope_record *records = poller->records;
    bool one_source = true, one_partition = true;

    for (size_t i = 1; i < count; i++) {
        one_source &= !strcmp(records[i].source, records[0].source);
        one_partition &= records[i].partition == records[0].partition;
    }
    copy_text(span->destination, sizeof span->destination, one_source ? records[0].source : NULL);
    span->partition = one_source && one_partition ? records[0].partition : -1;
}

static struct span *make_span(struct poller *poller, const struct invocation *invocation,
                              const char *parent_id, size_t count)
{
    size_t room = count < SPAN_LINKS ? count : SPAN_LINKS;
    struct span *span = memory_zero(1, sizeof *span + room * sizeof span->links[0]);

    span->self = invocation->trace;
    copy_text(span->parent_id, sizeof span->parent_id, parent_id);
    copy_text(span->mapping, sizeof span->mapping, poller->mapping->name);
    copy_text(span->system, sizeof span->system, system_of(poller));
    if (!strcmp(poller->connector->name, "kafka"))
        copy_text(span->group, sizeof span->group, text_option(poller->mapping, "group"));
    describe_source(poller, span, count);
    span->messages = (uint32_t)count;
    span->attempt = poller->records[0].attempt;
    span->batched = poller->mapping->rules.batch.size > 1;
    for (size_t i = 0; i < count; i++) {
        struct trace_parent link;

        if (!read_parent(&poller->records[i], &link))
            continue;
        if (span->link_count < room)
            span->links[span->link_count++] = link;
        else
            span->links_dropped++;
    }
    return span;
}

/* ---- begin and end ---- */

static void begin_trace(struct poller *poller, struct trace_parent *trace)
{
    struct tracer *tracer = tracer_of(poller);

    snprintf(trace->trace_id, sizeof trace->trace_id, "%016" PRIx64 "%016" PRIx64,
             random_next(&poller->random), random_next(&poller->random) | 1);
    /* Without traces of ours the function's own tracer may keep them all. */
    trace->flags = !tracer || trace_is_kept(trace->trace_id, tracer_ratio(tracer))
                       ? TRACE_FLAG_SAMPLED
                       : 0;
}

void poller_trace_begin(struct poller *poller, struct invocation *invocation, size_t count)
{
    struct trace_parent *trace = &invocation->trace, parent = {0};

    if (count == 1 && read_parent(&poller->records[0], &parent))
        *trace = parent;
    else
        begin_trace(poller, trace);
    trace->flags &= TRACE_FLAG_SAMPLED;
    snprintf(trace->span_id, sizeof trace->span_id, "%016" PRIx64,
             random_next(&poller->random) | 1);
    buffer_format(&invocation->headers, "traceparent: 00-%s-%s-%02x", trace->trace_id,
                  trace->span_id, trace->flags);
    buffer_add(&invocation->headers, "", 1);
    if (*parent.span_id)
        add_state(&invocation->headers, &poller->records[0]);
    if (tracer_of(poller) && trace->flags)
        invocation->span = make_span(poller, invocation, parent.span_id, count);
}

void poller_trace_end(struct poller *poller, struct invocation *invocation,
                      const struct batch *batch, const struct outcome *outcome)
{
    struct span *span = invocation->span;

    invocation->span = NULL;
    if (!span)
        return;
    span->start_wall_us = outcome->sent_wall_us;
    span->end_wall_us = outcome->sent_wall_us + outcome->duration_us;
    span->status = outcome->status;
    span->failed = outcome->class != OUTCOME_DONE;
    copy_text(span->outcome, sizeof span->outcome, outcome_class_name(outcome->class));
    if (span->failed)
        copy_text(span->error, sizeof span->error, outcome->error);
    for (size_t i = 0; i < batch->messages.count && outcome->named; i++)
        span->named += outcome->named[i];
    tracer_offer(tracer_of(poller), span);
}
