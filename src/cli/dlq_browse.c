/* SPDX-License-Identifier: MIT
 * `sluice dlq browse`: letters where dead letters go, without taking them from there. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cli/dlq_browse_letter.h"
#include "cli/dlq_browse_rows.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "service/trial.h"

#define LIMIT_USUAL     50
#define LOOK_MOST       10000 /* messages of a queue that are taken, unless a page asks for fewer */
#define DELIVERIES_MANY 10    /* which are worth a word */
#define TIMEOUT_USUAL   (30 * CLOCK_SECOND)

/* Those of the shared options that can be told of a letter that is elsewhere; then our own. */
enum {
    CLASS,
    STATUS,
    ERROR,
    WHERE,
    KEY,
    TOKEN,
    SINCE,
    UNTIL,
    ATTEMPTS,
    REPLAYED,
    NEVER_REPLAYED,
    SORT,
    LIMIT,
    JSON,
    STATE,
    SHARED
};
enum { TIMEOUT = SHARED, YES, COUNT_DELIVERIES, CONFIG };

static const int shared[] = {
    [CLASS] = DLQ_CLASS,       [STATUS] = DLQ_STATUS, [ERROR] = DLQ_ERROR,
    [WHERE] = DLQ_WHERE,       [KEY] = DLQ_KEY,       [TOKEN] = DLQ_TOKEN,
    [SINCE] = DLQ_SINCE,       [UNTIL] = DLQ_UNTIL,   [ATTEMPTS] = DLQ_ATTEMPTS,
    [REPLAYED] = DLQ_REPLAYED, [NEVER_REPLAYED] = DLQ_NEVER_REPLAYED,
    [SORT] = DLQ_SORT,         [LIMIT] = DLQ_LIMIT,   [JSON] = DLQ_JSON,
    [STATE] = DLQ_STATE,
};

static const struct arguments_option options[] = {
    [CLASS] = {"class", 'c', "CLASS", "Only letters of this class, such as poison or foreign."},
    [STATUS] = {"status", 's', "CODE", "Only with this last HTTP status: 500, 4xx, none."},
    [ERROR] = {"error", 'e', "REGEX", "Only where the reason matches (extended regex)."},
    [WHERE] = {"where", 'w', "PATTERN", "Only where the payload matches: '{status: [paid]}'."},
    [KEY] = {"key", 'k', "KEY", "Only messages with this key; hex:6b00 for binary ones."},
    [TOKEN] = {"token", 't', "TOKEN", "Only the message with this idempotency token."},
    [SINCE] = {"since", 0, "TIME", "Only letters that died since: 2h, 2026-11-23 14:00."},
    [UNTIL] = {"until", 0, "TIME", "Only letters that died before then."},
    [ATTEMPTS] = {"attempts", 0, "RANGE", "Only with so many attempts: 5, 3.., ..9, 3..9."},
    [REPLAYED] = {"replayed", 0, NULL, "Only letters that a replay did, or that died again in one."},
    [NEVER_REPLAYED] = {"never-replayed", 0, NULL, "Only the others."},
    [SORT] = {"sort", 0, "ORDER", "newest, oldest or attempts first."},
    [LIMIT] = {"limit", 'n', "COUNT", "At most so many (50); 0: all, as they are read."},
    [JSON] = {"json", 'j', NULL, "Print JSON, one object a line, with key, headers and payload."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service has an unusual one."},
    [TIMEOUT] = {"timeout", 0, "TIME", "How long it may take (30s)."},
    [YES] = {"yes", 'y', NULL, "Do not ask whether a queue may be looked into, which leaves a trace."},
    [COUNT_DELIVERIES] = {"count-deliveries", 0, NULL,
                          "Also where counting a look as a delivery may cost messages."},
    [CONFIG] = {"config", 'C', "DIR", "Read DIR/sluice.yaml and its mappings."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq browse",
    .synopsis = "[OPTION...] MAPPING",
    .description =
        "Lists the letters in the place that the mapping's dead_letter.to names, or where a mapping with\n"
        "receive: dead_letters takes them from, newest first: without consuming or changing anything, and\n"
        "beside whoever receives there. What other tools wrote there is understood too. What became of letters\n"
        "that such a mapping collected - replayed, discarded - is told.\n\n"
        "Topics of Kafka and streams of RabbitMQ are read so. Queues of RabbitMQ, SQS and Pub/Sub cannot be:\n"
        "their first messages are taken, held for as long as the look lasts, and given back, which the queue\n"
        "counts and others notice. What it changes in that queue is said before, and asked on a terminal;\n"
        "elsewhere it takes --yes. A mapping with receive: dead_letters has their letters here for all other\n"
        "commands.",
    .options = options,
    .examples = "  sluice dlq browse orders\n"
                "  sluice dlq browse orders --since 2h --error 'no such customer'\n"
                "  sluice dlq browse orders --never-replayed\n"
                "  sluice dlq browse orders --yes --count-deliveries --limit 20\n"
                "  sluice dlq browse orders --limit 0 --json | jq .payload",
};

struct browse {
    struct dlq_choice choice;
    struct overrides overrides;
    const char *config;
    struct configuration *configuration;
    int64_t timeout_us;
    struct browse_filter *filter;
    struct browse_rows rows;
    const char *connector;           /* of the place */
    struct dead_letter_store *store; /* that tells what became of letters; NULL: none */
    uint64_t seen;
    bool failed;
    bool yes, count_deliveries;
    bool taken;               /* messages are taken, and given back */
    int refused;              /* exit code where that may not be; EX_OK */
    uint32_t most_deliveries; /* of a message, before this look */
};

/* ---- letters ---- */

static void fail(void *cookie, const char *text)
{
    struct browse *browse = cookie;

    fflush(stdout);
    fprintf(stderr, "sluice dlq browse: %s\n", text);
    browse->failed = true;
}

/* What became of it here. 1, or 0; what cannot be read is said once. */
static int find_fate(struct browse *browse, const struct browse_letter *letter,
                     struct dead_letter_collected *ret_collected)
{
    struct fault fault;
    int found;

    if (!browse->store)
        return 0;
    found = browse->store->ops->collected(browse->store, browse->connector, letter->lane,
                                          letter->position, letter->written_wall_us, ret_collected,
                                          &fault);
    if (found >= 0)
        return found;
    fail(browse, fault.text);
    browse->store->ops->close(browse->store);
    browse->store = NULL;
    return 0;
}

static int see(void *cookie, const struct sluice_lane *lane, const struct sluice_message *message,
               const struct sluice_header *headers, size_t header_count)
{
    struct browse *browse = cookie;
    struct dead_letter_collected collected;
    struct browse_letter letter;

    browse->seen++;
    if (message->delivery_count > browse->most_deliveries)
        browse->most_deliveries = message->delivery_count;
    browse_letter_read(&letter, lane, message, headers, header_count);
    if (browse_filter_passes(browse->filter, &letter.letter)) {
        bool known = find_fate(browse, &letter, &collected) > 0;

        if (browse_filter_passes_fate(browse->filter, known ? &collected : NULL))
            browse_rows_add(&browse->rows, &letter, known ? &collected : NULL);
    }
    browse_letter_fini(&letter);
    return ferror(stdout);
}

/* ---- where a look leaves a trace ---- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static bool stopped(void *cookie)
{
    (void)cookie;
    return interrupted;
}

static void note(void *cookie, const char *text)
{
    (void)cookie;
    fflush(stdout);
    fprintf(stderr, "%s\n", text);
}

/* From now on an interruption gives back what was taken; and nothing is printed before that is done, as
 * whoever reads may take their time. */
static void begin_to_take(struct browse *browse)
{
    const struct sigaction action = {.sa_handler = on_signal};

    if (browse->taken)
        return;
    browse->taken = true;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    if (!browse->rows.limit)
        browse->rows.limit = UINT32_MAX;
}

static int allow(void *cookie, bool may_lose, const char *text)
{
    struct browse *browse = cookie;

    fflush(stdout);
    fprintf(stderr, "%s\n", text);
    if (may_lose && !browse->count_deliveries) {
        fputs("sluice dlq browse: a look may cost messages here: --count-deliveries goes on all the same\n",
              stderr);
        browse->refused = EX_USAGE;
    } else {
        browse->refused = dlq_confirm(usage.command, browse->yes, "Look into it?");
    }
    if (browse->refused == EX_OK)
        begin_to_take(browse);
    return browse->refused != EX_OK;
}

/* ---- the place ---- */

struct found_place {
    const struct sluice_connector *connector;
    const struct sluice_values *values;
    const char *destination;
    bool publishes;
};

static const struct mapping *find_mapping(const struct configuration *configuration, const char *name)
{
    struct suggest suggest = suggest_begin(name);

    for (size_t i = 0; i < configuration->mapping_count; i++) {
        if (strcmp(configuration->mappings[i]->name, name) == 0)
            return configuration->mappings[i];
        suggest_offer(&suggest, configuration->mappings[i]->name);
    }
    fprintf(stderr, "sluice dlq browse: there is no mapping %.63s%s%s%s\n", name, suggest.nearest ? "; did you mean " : "",
            suggest.nearest ? suggest.nearest : "", suggest.nearest ? "?" : "");
    return NULL;
}

/* EX_OK, or EX_DATAERR after saying why there is nothing to browse. */
static int find_place(const struct mapping *mapping, struct found_place *ret_place)
{
    const struct letters_to *to = &mapping->letters_to;

    *ret_place = (struct found_place){to->connector, to->values, to->name, true};
    if (!to->connector && mapping->collects)
        *ret_place = (struct found_place){mapping->connector, mapping->values, NULL, false};
    if (!ret_place->connector) {
        fprintf(stderr,
                "sluice dlq browse: the dead letters of %s are in the state directory: sluice dlq ls "
                "%s\n",
                mapping->name, mapping->name);
        return EX_DATAERR;
    }
    if (mapping_capabilities(ret_place->connector, ret_place->values) & SLUICE_CAN_BROWSE)
        return EX_OK;
    fprintf(stderr,
            "sluice dlq browse: %s: %s cannot be looked into; a mapping with `receive: dead_letters` has its "
            "letters here, see sluice-mapping(5)\n",
            mapping->name, to->connector ? to->text : mapping_kind(mapping));
    return EX_DATAERR;
}

/* 0, also where there is none. */
static int open_store(struct browse *browse)
{
    struct fault fault;

    browse->store = dead_letter_store_sqlite_open(browse->configuration->service.state_directory,
                                                  DEAD_LETTER_READ, &fault);
    if (browse->store || !fault.text[0])
        return 0;
    fprintf(stderr, "sluice dlq browse: what became of letters cannot be read: %s\n", fault.text);
    return browse->choice.query.replayed ? -1 : 0;
}

static int finish(struct browse *browse)
{
    struct browse_rows *rows = &browse->rows;
    uint32_t limit = browse->choice.query.limit;

    browse_rows_end(rows);
    fflush(stdout);
    if (!rows->added && !browse->failed && !rows->json && browse->refused == EX_OK)
        puts("No dead letters match.");
    if (browse->taken && browse->most_deliveries >= DELIVERIES_MANY)
        fprintf(stderr,
                "One of them was delivered %u times before this look, and once more by it. Collect them with "
                "receive: dead_letters before a limit of the queue drops it or moves it away.\n",
                browse->most_deliveries);
    if (rows->cut)
        fprintf(stderr,
                "Only the first %u are shown: more at once would take too much memory%s.\n", rows->limit,
                browse->taken ? "" : "; --limit 0 prints all, as they are read");
    else if (limit && rows->added > limit && !rows->json && !browse->taken)
        fprintf(stderr, "There are more; --limit 0 prints all.\n");
    if (interrupted || browse->refused != EX_OK)
        return interrupted ? EX_TEMPFAIL : browse->refused;
    if (!browse->failed)
        return EX_OK;
    return browse->seen ? DLQ_EXIT_SOME : EX_UNAVAILABLE;
}

static int run(struct browse *browse, const struct mapping *mapping)
{
    const struct dead_letter_query *query = &browse->choice.query;
    bool plain = !browse->choice.filtered && query->sort == DEAD_LETTER_NEWEST;
    struct sluice_browse asked = {.deadline_us = browse->timeout_us,
                                  .since_ms = query->since_wall_us / CLOCK_MS,
                                  /* Of each lane so many are enough. */
                                  .newest = plain ? query->limit : 0,
                                  .cookie = browse,
                                  .see = see,
                                  .fail = fail,
                                  .allow = allow,
                                  .stopped = stopped,
                                  .note = note,
                                  .most_messages = LOOK_MOST,
                                  .most_bytes = BROWSE_BYTES_MOST / 2};
    struct found_place place;
    int code = find_place(mapping, &place);

    if ((plain && query->limit) || query->limit > LOOK_MOST)
        asked.most_messages = query->limit;
    if (code != EX_OK)
        return code;
    if (open_store(browse) != 0)
        return EX_IOERR;
    asked.destination = place.destination;
    browse->connector = place.connector->name;
    trial_browse(place.connector, place.values, place.publishes, &asked);
    return finish(browse);
}

/* ---- the command ---- */

static int take_option(struct browse *browse, const struct arguments *arguments, int option)
{
    if (option < SHARED)
        return dlq_choice_option(&browse->choice, arguments, shared[option]);
    browse->yes |= option == YES;
    browse->count_deliveries |= option == COUNT_DELIVERIES;
    if (option == CONFIG)
        browse->config = arguments->value;
    else if (option == TIMEOUT &&
             (units_parse_duration(arguments->value, &browse->timeout_us) != 0 || !browse->timeout_us))
        return arguments_refuse(arguments, "--timeout: found \"%s\", expected a duration such as 30s",
                                arguments->value);
    return EX_OK;
}

static int open_and_run(struct browse *browse, const char *name)
{
    const struct mapping *mapping;
    struct fault fault;
    int code = EX_CONFIG;

    browse->overrides.state_directory = browse->choice.state;
    browse->configuration = dlq_configuration(browse->config, &browse->overrides);
    mapping = browse->configuration ? find_mapping(browse->configuration, name) : NULL;
    if (mapping) {
        browse->rows.json = browse->choice.json;
        browse->rows.sort = browse->choice.query.sort;
        browse->rows.limit = browse->choice.query.limit;
        browse->filter = browse_filter_new(&browse->choice.query, &fault);
        code = browse->filter ? run(browse, mapping) : dlq_failed(&fault);
        browse_filter_free(browse->filter);
    }
    configuration_free(browse->configuration);
    return code;
}

int dlq_browse(int argc, char **argv)
{
    struct browse browse = {.timeout_us = TIMEOUT_USUAL, .rows = {.screen = dlq_screen()}};
    struct arguments arguments;
    int option, code = EX_OK;

    browse.choice.query.limit = LIMIT_USUAL;
    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        if ((code = take_option(&browse, &arguments, option)) != EX_OK)
            break;
    if (option == ARGUMENTS_END && arguments.operand_count != 1)
        code = arguments_refuse(&arguments, "which mapping? One, whose letters are elsewhere");
    else if (option == ARGUMENTS_END)
        code = open_and_run(&browse, arguments.operands[0]);
    browse_rows_fini(&browse.rows);
    if (browse.store)
        browse.store->ops->close(browse.store);
    dlq_choice_fini(&browse.choice);
    return code;
}
