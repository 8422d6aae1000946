/* SPDX-License-Identifier: MIT
 * `sluice dlq browse`: letters where dead letters go, without taking them from there. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cli/dlq_browse_letter.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "service/trial.h"

#define LIMIT_USUAL    50
#define TIMEOUT_USUAL  (30 * CLOCK_SECOND)
#define PREVIEW        200 /* bytes of a payload */
#define POSITION_WIDTH 24
#define ORIGIN_WIDTH   28
#define KEY_WIDTH      16
#define REASON_WIDTH   40

/* Those of the shared options that can be told of a letter that is elsewhere; then our own. */
enum { CLASS, STATUS, ERROR, WHERE, KEY, TOKEN, SINCE, UNTIL, ATTEMPTS, SORT, LIMIT, JSON, SHARED };
enum { TIMEOUT = SHARED, CONFIG };

static const int shared[] = {
    [CLASS] = DLQ_CLASS,       [STATUS] = DLQ_STATUS, [ERROR] = DLQ_ERROR,
    [WHERE] = DLQ_WHERE,       [KEY] = DLQ_KEY,       [TOKEN] = DLQ_TOKEN,
    [SINCE] = DLQ_SINCE,       [UNTIL] = DLQ_UNTIL,   [ATTEMPTS] = DLQ_ATTEMPTS,
    [SORT] = DLQ_SORT,         [LIMIT] = DLQ_LIMIT,   [JSON] = DLQ_JSON,
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
    [SORT] = {"sort", 0, "ORDER", "newest, oldest or attempts first."},
    [LIMIT] = {"limit", 'n', "COUNT", "At most so many (50); 0: all, as they are read."},
    [JSON] = {"json", 'j', NULL, "Print JSON, one object a line, with key, headers and payload."},
    [TIMEOUT] = {"timeout", 0, "TIME", "How long it may take (30s)."},
    [CONFIG] = {"config", 'C', "DIR", "Read DIR/sluice.yaml and its mappings."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq browse",
    .synopsis = "[OPTION...] MAPPING",
    .description =
        "Lists the letters in the place that the mapping's dead_letter.to names, or where a mapping with\n"
        "receive: dead_letters takes them from, newest first: without consuming or changing anything, and\n"
        "beside whoever receives there. What other tools wrote there is understood too.\n\n"
        "Kafka can be read so. Queues cannot: each look would count as a delivery, so they are refused;\n"
        "a mapping with receive: dead_letters has their letters here for all other commands.",
    .options = options,
    .examples = "  sluice dlq browse orders\n"
                "  sluice dlq browse orders --since 2h --error 'no such customer'\n"
                "  sluice dlq browse orders --limit 0 --json | jq .payload",
};

struct row {
    int64_t dead_wall_us;
    uint32_t attempts;
    uint64_t number; /* in the order of reading */
    char *json;      /* as a line; else: */
    char age[DLQ_TIME], class[16], status[8];
    char *position, *origin, *reason;
    char *key, *payload; /* their beginnings */
    size_t key_size, payload_size;
};

struct browse {
    struct dlq_choice choice;
    struct overrides overrides;
    const char *config;
    int64_t timeout_us;
    struct dlq_screen screen;
    struct browse_filter *filter;
    struct row *rows;
    size_t count, room;
    uint64_t seen, matched;
    bool headed, failed;
};

/* ---- rows ---- */

static char *copy(struct sluice_bytes bytes, size_t *ret_size)
{
    char *kept;

    *ret_size = bytes.data ? (bytes.size < PREVIEW ? bytes.size : PREVIEW) : 0;
    kept = memory_new(*ret_size);
    if (*ret_size)
        memcpy(kept, bytes.data, *ret_size);
    return kept;
}

static void fill_row(struct browse *browse, const struct browse_letter *found, struct row *row)
{
    const struct dead_letter *letter = &found->letter;

    *row = (struct row){.dead_wall_us = letter->dead_wall_us,
                        .attempts = letter->attempt_count,
                        .number = browse->seen};
    if (browse->choice.json) {
        json_t *object = browse_letter_json(found);

        row->json = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
        json_decref(object);
        return;
    }
    snprintf(row->class, sizeof row->class, "%s", dead_letter_class_name(letter->class));
    if (letter->status)
        snprintf(row->status, sizeof row->status, "%u", letter->status % 100000);
    else
        strcpy(row->status, "-");
    dlq_ago(&browse->screen, letter->dead_wall_us, row->age);
    row->position =
        memory_format("%s/%llu", found->lane, (unsigned long long)found->position);
    if (found->foreign.has_position)
        row->origin =
            memory_format("%s/%llu", letter->lane, (unsigned long long)letter->position);
    else
        row->origin = memory_text(letter->source[0] ? letter->lane : "-");
    row->reason = memory_text(letter->reason);
    row->key = copy(letter->key, &row->key_size);
    row->payload = copy(letter->payload, &row->payload_size);
}

static void free_row(struct row *row)
{
    free(row->json);
    free(row->position);
    free(row->origin);
    free(row->reason);
    free(row->key);
    free(row->payload);
}

static void cell(const char *text, size_t size, unsigned width)
{
    dlq_pad(dlq_line(text, size, width), width);
}

/* All but the last column. Returns the columns used. */
static unsigned print_cells(const struct browse *browse, const struct row *row)
{
    const struct dlq_screen *screen = &browse->screen;
    unsigned used = POSITION_WIDTH + 2 + 5 + 2 + 9 + 2 + 6 + 2;

    dlq_style(screen, "dim");
    cell(row->position, strlen(row->position), POSITION_WIDTH);
    dlq_style(screen, "plain");
    cell(row->age, strlen(row->age), 5);
    cell(row->class, strlen(row->class), 9);
    cell(row->status, strlen(row->status), 6);
    if (screen->width >= 110) {
        cell(row->origin, strlen(row->origin), ORIGIN_WIDTH);
        cell(row->key, row->key_size, KEY_WIDTH);
        used += ORIGIN_WIDTH + KEY_WIDTH + 4;
    }
    if (screen->width >= 150) {
        cell(row->reason, strlen(row->reason), REASON_WIDTH);
        used += REASON_WIDTH + 2;
    }
    return used;
}

static void print_row(struct browse *browse, const struct row *row)
{
    static const struct row heads = {.position = (char *)"POSITION", .age = "AGE", .class = "CLASS",
                                     .status = "STATUS", .origin = (char *)"ORIGIN",
                                     .key = (char *)"KEY", .key_size = 3, .reason = (char *)"REASON"};
    unsigned used, width = browse->screen.width;

    if (row->json) {
        puts(row->json);
        return;
    }
    if (!browse->headed) {
        print_cells(browse, &heads);
        puts("PAYLOAD");
        browse->headed = true;
    }
    used = print_cells(browse, row);
    dlq_line(row->payload, row->payload_size, width == UINT_MAX ? UINT_MAX
                                              : width > used    ? width - used
                                                                : 1);
    putchar('\n');
}

/* ---- which are shown ---- */

static enum dead_letter_sort sort_by;

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    int order = 0;

    if (sort_by == DEAD_LETTER_ATTEMPTS_MOST)
        order = compare_numbers(b->attempts, a->attempts);
    if (!order)
        order = compare_numbers((uint64_t)b->dead_wall_us, (uint64_t)a->dead_wall_us);
    if (!order)
        order = compare_numbers(b->number, a->number);
    return sort_by == DEAD_LETTER_OLDEST ? -order : order;
}

static void keep_first(struct browse *browse)
{
    size_t most = browse->choice.query.limit;

    if (!browse->count)
        return;
    sort_by = browse->choice.query.sort;
    qsort(browse->rows, browse->count, sizeof *browse->rows, compare);
    while (browse->count > most)
        free_row(&browse->rows[--browse->count]);
}

/* Held are at most twice as many as are shown. */
static void hold(struct browse *browse, const struct row *row)
{
    size_t most = (size_t)browse->choice.query.limit * 2;

    if (browse->count == browse->room) {
        browse->room = browse->room ? browse->room * 2 : 64;
        if (browse->room > most)
            browse->room = most;
        browse->rows = memory_resize(browse->rows, browse->room, sizeof *browse->rows);
    }
    browse->rows[browse->count++] = *row;
    if (browse->count == most)
        keep_first(browse);
}

static int see(void *cookie, const struct sluice_lane *lane, const struct sluice_message *message,
               const struct sluice_header *headers, size_t header_count)
{
    struct browse *browse = cookie;
    struct browse_letter letter;
    struct row row;

    browse->seen++;
    browse_letter_read(&letter, lane, message, headers, header_count);
    if (browse_filter_passes(browse->filter, &letter.letter)) {
        browse->matched++;
        fill_row(browse, &letter, &row);
        if (browse->choice.query.limit) {
            hold(browse, &row);
        } else {
            print_row(browse, &row);
            free_row(&row);
        }
    }
    browse_letter_fini(&letter);
    return ferror(stdout);
}

static void fail(void *cookie, const char *text)
{
    struct browse *browse = cookie;

    fflush(stdout);
    fprintf(stderr, "sluice dlq browse: %s\n", text);
    browse->failed = true;
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
    if (ret_place->connector->capabilities & SLUICE_CAN_BROWSE)
        return EX_OK;
    fprintf(stderr,
            "sluice dlq browse: %s: %s cannot be read without taking messages or counting deliveries; a "
            "mapping with `receive: dead_letters` has its letters here, see sluice-mapping(5)\n",
            mapping->name, to->connector ? to->text : mapping_kind(mapping));
    return EX_DATAERR;
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
                                  .fail = fail};
    struct found_place place;
    int code = find_place(mapping, &place);

    if (code != EX_OK)
        return code;
    asked.destination = place.destination;
    trial_browse(place.connector, place.values, place.publishes, &asked);
    keep_first(browse);
    for (size_t i = 0; i < browse->count; i++)
        print_row(browse, &browse->rows[i]);
    if (!browse->matched && !browse->failed && !browse->choice.json)
        puts("No dead letters match.");
    if (query->limit && browse->matched > query->limit && !browse->choice.json)
        fprintf(stderr, "There are more; --limit 0 prints all.\n");
    if (!browse->failed)
        return EX_OK;
    return browse->seen ? DLQ_EXIT_SOME : EX_UNAVAILABLE;
}

/* ---- the command ---- */

static int take_option(struct browse *browse, const struct arguments *arguments, int option)
{
    if (option < SHARED)
        return dlq_choice_option(&browse->choice, arguments, shared[option]);
    if (option == CONFIG)
        browse->config = arguments->value;
    else if (units_parse_duration(arguments->value, &browse->timeout_us) != 0 || !browse->timeout_us)
        return arguments_refuse(arguments, "--timeout: found \"%s\", expected a duration such as 30s",
                                arguments->value);
    return EX_OK;
}

static int open_and_run(struct browse *browse, const char *name)
{
    struct configuration *configuration = dlq_configuration(browse->config, &browse->overrides);
    const struct mapping *mapping = configuration ? find_mapping(configuration, name) : NULL;
    struct fault fault;
    int code = EX_CONFIG;

    if (mapping) {
        browse->filter = browse_filter_new(&browse->choice.query, &fault);
        code = browse->filter ? run(browse, mapping) : dlq_failed(&fault);
        browse_filter_free(browse->filter);
    }
    configuration_free(configuration);
    return code;
}

int dlq_browse(int argc, char **argv)
{
    struct browse browse = {.timeout_us = TIMEOUT_USUAL, .screen = dlq_screen()};
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
    for (size_t i = 0; i < browse.count; i++)
        free_row(&browse.rows[i]);
    free(browse.rows);
    dlq_choice_fini(&browse.choice);
    return code;
}
