/* SPDX-License-Identifier: MIT */
#include "service/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "service/replay_publish.h"
#include "service/replay_source.h"

#define FORCE_AT_ONCE 500
#define BUFFER_LEAST  ((size_t)8 << 20) /* bytes of letters at the engine: they need not be fetched */

/* The letters of one mapping, on their way. */
struct part {
    struct mapping mapping; /* a copy with letters for its source; owns nothing */
    struct replay_source *source;
    struct claims *own_claims;
    struct poller *poller;
    struct replay_publish *publish; /* in place of all above but the mapping's name */
};

struct replay {
    struct part *parts;
    size_t part_count;
};

/* What is to become a part. */
struct choice {
    const struct mapping *mapping;
    struct dead_letter_place *places;
    size_t count;
};

struct choices {
    const struct replay_context *context;
    const struct replay_order *order;
    struct dead_letter_store *store;
    struct choice *list; /* one for each mapping of the context, in its order */
    size_t total;
    struct fault *fault;
    bool failed;
};

/* ---- choosing ---- */

static struct choice *choice_for(struct choices *choices, const char *name)
{
    const struct replay_context *context = choices->context;
    const char *wanted = choices->order->to ? choices->order->to : name;

    for (size_t i = 0; i < context->mapping_count; i++)
        if (strcmp(context->mappings[i]->name, wanted) == 0) {
            choices->list[i].mapping = context->mappings[i];
            return &choices->list[i];
        }
    fault_set(choices->fault, "there is no mapping %s in the configuration%s", wanted,
              choices->order->to ? "" : "; --to MAPPING sends its letters through another");
    choices->failed = true;
    return NULL;
}

/* How many there are without that one. */
static size_t leave_out(struct dead_letter_place *places, size_t count, int64_t number)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (places[i].number != number)
            places[kept++] = places[i];
    return kept;
}

static void add_places(struct choices *choices, const char *mapping,
                       const struct dead_letter_query *query)
{
    struct choice *choice = choice_for(choices, mapping);
    struct dead_letter_place *places;
    size_t count;

    if (!choice)
        return;
    if (choices->store->ops->select(choices->store, query, &places, &count, choices->fault) != 0) {
        choices->failed = true;
        return;
    }
    count = leave_out(places, count, choices->order->skip);
    choices->total += count;
    if (!choice->places) {
        choice->places = places;
        choice->count = count;
        return;
    }
    choice->places = memory_resize(choice->places, choice->count + count + 1, sizeof *places);
    memcpy(choice->places + choice->count, places, count * sizeof *places);
    choice->count += count;
    free(places);
}

/* Mappings that have letters. */
struct names {
    char **list;
    size_t count;
};

static int note_name(void *argument, const struct dead_letter_group *group)
{
    struct names *names = argument;

    names->list = memory_resize(names->list, names->count + 1, sizeof *names->list);
    names->list[names->count++] = memory_text(group->value);
    return 0;
}

/* Mapping by mapping, once all their names are known: a store reads by one query at a time. */
static int choose_by_query(struct choices *choices)
{
    struct dead_letter_query query = choices->order->query;
    struct names names = {0};
    uint32_t limit = query.limit;
    int result;

    query.limit = 0;
    result = choices->store->ops->group(choices->store, &query, "mapping", note_name, &names,
                                        choices->fault);
    for (size_t i = 0; i < names.count; i++) {
        query.mapping = names.list[i];
        query.limit = limit ? limit - (uint32_t)choices->total : 0;
        if (result == 0 && !choices->failed && (!limit || choices->total < limit))
            add_places(choices, names.list[i], &query);
        free(names.list[i]);
    }
    free(names.list);
    return result;
}

static int see_letter(void *argument, const struct dead_letter *letter)
{
    add_places(argument, letter->mapping, &(struct dead_letter_query){.id_prefix = letter->id});
    return 1;
}

static int choose(struct choices *choices)
{
    const struct replay_order *order = choices->order;
    int result = 0;

    if (!order->id_count)
        result = choose_by_query(choices);
    for (size_t i = 0; result == 0 && !choices->failed && i < order->id_count; i++)
        result = choices->store->ops->list(choices->store,
                                           &(struct dead_letter_query){.id_prefix = order->ids[i]},
                                           0, see_letter, choices, choices->fault);
    for (size_t i = 0; i < choices->context->mapping_count; i++)
        dead_letter_places_sort(choices->list[i].places, choices->list[i].count);
    return result == 0 && !choices->failed ? 0 : -1;
}

/* Durable before the first is sent: it is the same token however often the replay is begun again. */
static int force_tokens(const struct choices *choices)
{
    int64_t numbers[FORCE_AT_ONCE];

    for (size_t i = 0; i < choices->context->mapping_count; i++) {
        const struct choice *choice = &choices->list[i];

        for (size_t at = 0; at < choice->count;) {
            size_t count = 0;

            while (count < FORCE_AT_ONCE && at < choice->count)
                numbers[count++] = choice->places[at++].number;
            if (choices->store->ops->force(choices->store, numbers, count, choices->fault) != 0)
                return -1;
        }
    }
    return 0;
}

/* ---- parts ---- */

/* Giving up needs no witness here: a letter that fails is where it was before. */
static void make_mapping(struct part *part, const struct mapping *mapping,
                         const struct replay_order *order)
{
    struct rules *rules = &part->mapping.rules;

    part->mapping = *mapping;
    part->mapping.connector = replay_source_connector(part->source);
    part->mapping.capabilities = part->mapping.connector->capabilities;
    part->mapping.pollers = 1;
    rules->token.source = TOKEN_IDENTITY;
    rules->token.on_missing = TOKEN_MISSING_POSITION;
    if (rules->token.on_conflict == TOKEN_CONFLICT_DROP)
        rules->token.on_conflict = TOKEN_CONFLICT_DEAD_LETTER;
    rules->retry.patience_us = 0;
    if (rules->buffer_bytes > BUFFER_LEAST && rules->buffer_bytes > 2 * rules->batch.bytes)
        rules->buffer_bytes =
            2 * rules->batch.bytes > BUFFER_LEAST ? 2 * rules->batch.bytes : BUFFER_LEAST;
    if (order->concurrency && order->concurrency < rules->concurrency.most)
        rules->concurrency.most = order->concurrency;
    if (rules->concurrency.least > rules->concurrency.most)
        rules->concurrency.least = rules->concurrency.most;
}

static int start_publishing(struct part *part, const struct replay_context *context,
                            const struct replay_order *order, struct choice *choice,
                            struct fault *fault)
{
    struct replay_publish_settings settings = {
        .mapping = choice->mapping,
        .state_directory = context->state_directory,
        .places = choice->places,
        .count = choice->count,
        .rate = order->rate,
        .act = order->act,
    };
    char *detail = memory_format("%s: %s", choice->mapping->name, order->act.detail);

    settings.act.detail = detail;
    choice->places = NULL;
    part->mapping.name = choice->mapping->name;
    part->publish = replay_publish_new(&settings, fault);
    free(detail);
    return part->publish ? 0 : -1;
}

static int start_part(struct part *part, const struct replay_context *context,
                      const struct replay_order *order, struct choice *choice, struct fault *fault)
{
    struct replay_source_settings settings = {
        .state_directory = context->state_directory,
        .connector = choice->mapping->connector,
        .places = choice->places,
        .count = choice->count,
        .rate = order->rate,
        .max_failures = order->max_failures,
        .drain_us = choice->mapping->drain_us,
        .act = order->act,
    };
    char *detail = memory_format("%s: %s", choice->mapping->name, order->act.detail);
    struct poller_context poller = {.mapping = &part->mapping,
                                    .recorder = context->recorder,
                                    .token_store = context->token_store,
                                    .allowance = context->allowance};

    settings.act.detail = detail;
    part->source = replay_source_new(&settings);
    free(detail);
    choice->places = NULL;
    make_mapping(part, choice->mapping, order);
    poller.replay = part->source;
    if (context->books)
        poller.book = books_of(context->books, choice->mapping->name);
    if (context->claims)
        poller.claims = context->claims(context->argument, choice->mapping->name);
    if (!poller.claims)
        poller.claims = part->own_claims = claims_new();
    part->poller = poller_new(&poller, fault);
    return part->poller ? poller_start(part->poller, fault) : -1;
}

static void part_fini(struct part *part)
{
    replay_publish_free(part->publish);
    poller_free(part->poller);
    claims_free(part->own_claims);
    replay_source_free(part->source);
}

static int start_parts(struct replay *replay, struct choices *choices)
{
    replay->parts = memory_zero(choices->context->mapping_count + 1, sizeof *replay->parts);
    for (size_t i = 0; i < choices->context->mapping_count; i++)
        if (choices->list[i].count &&
            (choices->order->to_source ? start_publishing : start_part)(
                &replay->parts[replay->part_count++], choices->context, choices->order,
                &choices->list[i], choices->fault) != 0)
            return -1;
    return 0;
}

struct replay *replay_start(const struct replay_context *context, const struct replay_order *order,
                            struct fault *fault)
{
    struct choices choices = {.context = context, .order = order, .fault = fault};
    struct replay *replay = memory_zero(1, sizeof *replay);
    int result = -1;

    choices.list = memory_zero(context->mapping_count + 1, sizeof *choices.list);
    choices.store =
        dead_letter_store_sqlite_open(context->state_directory, DEAD_LETTER_WRITE, fault);
    if (choices.store) {
        result = choose(&choices);
        if (result == 0 && order->force)
            result = force_tokens(&choices);
        choices.store->ops->close(choices.store);
    }
    if (result == 0)
        result = start_parts(replay, &choices);
    for (size_t i = 0; i < context->mapping_count; i++)
        free(choices.list[i].places);
    free(choices.list);
    if (result == 0)
        return replay;
    replay_stop(replay, 0);
    replay_free(replay);
    return NULL;
}

void replay_stop(struct replay *replay, int64_t drain_us)
{
    for (size_t i = 0; i < replay->part_count; i++)
        if (replay->parts[i].publish)
            replay_publish_stop(replay->parts[i].publish, drain_us);
        else if (replay->parts[i].poller)
            poller_stop(replay->parts[i].poller, drain_us);
}

static void add_counts(struct replay_status *sum, const struct replay_source_counts *more)
{
    sum->selected += more->selected;
    sum->done += more->done;
    sum->already += more->already;
    sum->died += more->died;
    sum->gone += more->gone;
    sum->changed += more->changed;
    sum->too_many |= more->too_many;
}

static void add_state(struct replay_status *sum, const char *mapping,
                      const struct poller_status *status)
{
    const char *why = status->gate != GATE_CLOSED                ? status->gate_text
                      : status->state == SLUICE_STATE_FAILED     ? status->state_text
                      : status->dead_letters_stuck               ? "dead letters cannot be written"
                      : status->records_stuck                    ? "tokens cannot be recorded"
                                                                 : NULL;

    if (!why || sum->down)
        return;
    sum->down = true;
    snprintf(sum->text, sizeof sum->text, "%s: %.400s", mapping, why);
}

static void add_publishing(struct replay_status *sum, const struct part *part)
{
    struct replay_publish_status status;

    replay_publish_read_status(part->publish, &status);
    sum->selected += status.selected;
    sum->done += status.done;
    sum->died += status.failed;
    sum->gone += status.gone;
    sum->changed += status.changed;
    sum->ended &= status.ended;
    if (!status.down || status.ended || sum->down)
        return;
    sum->down = true;
    snprintf(sum->text, sizeof sum->text, "%s: %.400s", part->mapping.name, status.text);
}

void replay_read_status(struct replay *replay, struct replay_status *ret_status)
{
    *ret_status = (struct replay_status){.ended = true};
    for (size_t i = 0; i < replay->part_count; i++) {
        const struct part *part = &replay->parts[i];
        struct replay_source_counts counts;
        struct poller_status status;
        bool ended;

        if (part->publish) {
            add_publishing(ret_status, part);
            continue;
        }
        ended = poller_ended(part->poller);

        replay_source_counts(part->source, &counts);
        poller_read_status(part->poller, &status);
        add_counts(ret_status, &counts);
        ret_status->ended &= ended;
        if (!ended)
            add_state(ret_status, part->mapping.name, &status);
    }
}

void replay_free(struct replay *replay)
{
    if (!replay)
        return;
    for (size_t i = 0; i < replay->part_count; i++)
        part_fini(&replay->parts[i]);
    free(replay->parts);
    free(replay);
}
