/* SPDX-License-Identifier: MIT
 * `sluice dlq replay --dry-run`. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <sluice/connector.h>

#include "base/memory.h"
#include "cli/control.h"
#include "cli/dlq_replay.h"
#include "core/token.h"
#include "io/hash.h"
#include "io/json_value.h"
#include "io/token_store_look.h"

/* Letters of one mapping. */
struct plan_part {
    char *from;
    char *source; /* with to_source: each source is a part */
    const char *to;
    uint64_t count, already, conflicts;
};

struct plan {
    const struct dlq_replay_plan *plan;
    struct plan_part *parts;
    size_t count;
    uint64_t total;
    struct token_look *tokens; /* NULL: nothing was ever recorded */
    int64_t now_us;
    struct fault fault;
    bool failed;
};

static struct plan_part *part_of(struct plan *plan, const char *from, const char *source)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->parts[i].from, from) == 0 &&
            (!source || strcmp(plan->parts[i].source, source) == 0))
            return &plan->parts[i];
    plan->parts = memory_resize(plan->parts, plan->count + 1, sizeof *plan->parts);
    plan->parts[plan->count] = (struct plan_part){.from = memory_text(from),
                                                   .source = source ? memory_text(source) : NULL};
    return &plan->parts[plan->count++];
}

/* Whether its token was recorded, as a replay would find it. */
static void look_up(struct plan *plan, struct plan_part *part, const struct dead_letter *letter)
{
    const struct replay_order *order = plan->plan->order;
    char token[TOKEN_BYTES_MOST + 16];
    size_t size = dead_letter_token(letter, token, sizeof token);
    struct token_record record;
    uint64_t hash[2];
    int found = token_look_find(plan->tokens, order->to ? order->to : letter->mapping, token, size,
                                &record, &plan->fault);

    plan->failed = found < 0;
    if (found <= 0 || record.expires_wall_us <= plan->now_us)
        return;
    hash_fingerprint(letter->payload.data, letter->payload.size, hash);
    if (record.fingerprint[0] == hash[0] && record.fingerprint[1] == hash[1])
        part->already++;
    else
        part->conflicts++;
}

static int see_letter(void *argument, const struct dead_letter *letter)
{
    struct plan *plan = argument;
    bool to_source = plan->plan->order->to_source;
    struct plan_part *part = part_of(plan, letter->mapping, to_source ? letter->source : NULL);

    part->count++;
    plan->total++;
    if (plan->tokens && !plan->plan->order->force && !to_source)
        look_up(plan, part, letter);
    return plan->failed;
}

static const struct mapping *find_mapping(const struct configuration *configuration,
                                          const char *name)
{
    for (size_t i = 0; i < configuration->mapping_count; i++)
        if (strcmp(configuration->mappings[i]->name, name) == 0)
            return configuration->mappings[i];
    return NULL;
}

static void print_json(const struct plan_part *part, const char *to, const struct mapping *mapping)
{
    json_t *object = json_object();

    json_object_set_new(object, "action", json_string("replay"));
    json_object_set_new(object, "dry_run", json_true());
    json_object_set_new(object, "mapping", json_value_text(part->from));
    json_object_set_new(object, "to", json_value_text(to));
    json_object_set_new(object, "count", json_integer((json_int_t)part->count));
    json_object_set_new(object, "already", json_integer((json_int_t)part->already));
    json_object_set_new(object, "conflicts", json_integer((json_int_t)part->conflicts));
    json_object_set_new(object, "target", json_value_text(mapping && !part->source
                                                              ? mapping->target.url : NULL));
    json_object_set_new(object, "source", json_value_text(part->source));
    dlq_json_print(object);
}

static void print_publishing(const struct plan_part *part, const struct mapping *mapping)
{
    char *servers = mapping_servers(mapping);

    printf(" would be published back to %s ", mapping->connector->name);
    dlq_line(part->source, strlen(part->source), 200);
    printf("%s%s, with the header sluice-replayed, invoking nothing.\n", *servers ? " at " : "",
           servers);
    free(servers);
}

static void print_part(const struct plan *plan, const struct plan_part *part)
{
    static const char *const orders[] = {"in the order of each lane", "in the order of each key",
                                         "in any order"};
    const struct replay_order *order = plan->plan->order;
    const char *to = order->to ? order->to : part->from;
    const struct mapping *mapping = find_mapping(plan->plan->configuration, to);
    char number[DLQ_TIME];

    if (plan->plan->choice->json) {
        print_json(part, to, mapping);
        return;
    }
    printf("%s dead letter%s of ", dlq_number(part->count, number), part->count == 1 ? "" : "s");
    dlq_line(part->from, strlen(part->from), 63);
    if (part->source) {
        print_publishing(part, mapping);
        return;
    }
    printf(" would go to %s, through mapping %s, in batches of up to %u, %s, with %s.\n",
           mapping->target.url, to, mapping->rules.batch.size, orders[mapping->rules.order],
           order->force ? "new tokens" : "the tokens they had");
    if (part->already)
        printf("%s of them would leave without being sent: their tokens are recorded.\n",
               dlq_number(part->already, number));
    if (part->conflicts && mapping->rules.token.on_conflict != TOKEN_CONFLICT_INVOKE)
        printf("%s of them would stay: their tokens are recorded for other payloads (--force gives "
               "new ones).\n",
               dlq_number(part->conflicts, number));
}

/* A replay is refused as a whole where a mapping is not there. EX_OK, or EX_CONFIG after saying so. */
static int check_mappings(const struct plan *plan)
{
    const char *to = plan->plan->order->to;

    for (size_t i = 0; i < plan->count; i++) {
        const char *name = to ? to : plan->parts[i].from;

        if (find_mapping(plan->plan->configuration, name))
            continue;
        fprintf(stderr, "sluice dlq replay: there is no mapping %s in the configuration, so that "
                        "nothing would be replayed%s\n",
                control_could_be_mapping(name) ? name : "of its name",
                to ? "" : "; --to MAPPING sends its letters through another, --mapping leaves them out");
        return EX_CONFIG;
    }
    return EX_OK;
}

/* Looks at each letter, and at its token where that can be. */
static int tell(struct plan *plan)
{
    const char *directory = plan->plan->configuration->service.state_directory;
    int code;

    plan->tokens = token_look_open(directory, 0, &plan->fault);
    plan->now_us = dlq_screen().now_us;
    code = dlq_choice_each(plan->plan->choice, plan->plan->store, "dlq replay", 1, see_letter, plan);
    if (plan->failed)
        code = dlq_failed(&plan->fault);
    token_look_close(plan->tokens);
    if (code == EX_OK)
        code = check_mappings(plan);
    for (size_t i = 0; i < plan->count; i++) {
        if (code == EX_OK)
            print_part(plan, &plan->parts[i]);
        free(plan->parts[i].from);
        free(plan->parts[i].source);
    }
    free(plan->parts);
    return code;
}

int dlq_replay_plan(const struct dlq_replay_plan *plan, uint64_t *ret_total)
{
    struct plan state = {.plan = plan};
    int code;

    if (!plan->tell)
        return dlq_choice_count(plan->choice, plan->store, "dlq replay", ret_total);
    code = tell(&state);
    *ret_total = state.total;
    return code;
}
