/* SPDX-License-Identifier: MIT */
#include "cli/dlq_choice.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cli/dlq_elsewhere.h"
#include "cli/dlq_inside.h"
#include "service/config_filter.h"

#define CANDIDATES   10
#define TEXT_MOST    4096
#define OTHERS_NAMED 10 /* mappings */
#define NAME_SHOWN   63

/* ---- options ---- */

static int choose_class(const struct arguments *arguments, struct dead_letter_query *query)
{
    struct suggest suggest = suggest_begin(arguments->value);

    for (int class = DEAD_ATTEMPTS; class <= DEAD_LETTER_CLASS_LAST; class ++) {
        const char *name = dead_letter_class_name(class);

        if (strcmp(name, arguments->value) == 0) {
            query->class_name = name;
            return EX_OK;
        }
        suggest_offer(&suggest, name);
    }
    if (suggest.nearest)
        return arguments_refuse(arguments, "--class %s; did you mean %s?", arguments->value,
                                suggest.nearest);
    return arguments_refuse(arguments, "--class takes attempts, poison, named, patience, age, "
                                       "too_large, token_missing, token_conflict, filtered, "
                                       "foreign or buried");
}

static int choose_status(const struct arguments *arguments, struct dead_letter_query *query)
{
    const char *text = arguments->value;
    int64_t status;

    query->status = query->status_to = 0;
    query->no_status = strcmp(text, "none") == 0;
    if (query->no_status)
        return EX_OK;
    if (strlen(text) == 3 && text[0] >= '1' && text[0] <= '9' && strcmp(text + 1, "xx") == 0) {
        query->status = (uint32_t)(text[0] - '0') * 100;
        query->status_to = query->status + 99;
        return EX_OK;
    }
    if (units_parse_integer(text, &status) != 0 || status < 100 || status > 999)
        return arguments_refuse(arguments,
                                "--status takes an HTTP status such as 500, or 4xx, or none");
    query->status = (uint32_t)status;
    return EX_OK;
}

static int choose_error(const struct arguments *arguments, struct dead_letter_query *query)
{
    char why[128];
    regex_t regex;
    int code = regcomp(&regex, arguments->value, REG_EXTENDED | REG_NOSUB);

    if (code) {
        regerror(code, &regex, why, sizeof why);
        return arguments_refuse(arguments, "--error %s: %s", arguments->value, why);
    }
    regfree(&regex);
    query->error = arguments->value;
    return EX_OK;
}

static int choose_where(const struct arguments *arguments, struct dlq_choice *choice)
{
    struct fault fault = {.text = ""};

    free(choice->where);
    choice->query.where = choice->where = config_filter_payload(arguments->value, &fault);
    if (!choice->where)
        return arguments_refuse(arguments, "--where: %s", fault.text);
    return EX_OK;
}

static int hex_digit(char c)
{
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int choose_key(const struct arguments *arguments, struct dlq_choice *choice)
{
    const char *text = arguments->value;
    size_t size = strlen(text);

    choice->query.key = (struct sluice_bytes){text, size};
    if (strncmp(text, "hex:", 4) != 0)
        return EX_OK;
    free(choice->key);
    choice->key = memory_new(size);
    for (size_t i = 4; i + 1 <= size && text[i]; i += 2) {
        int high = hex_digit(text[i]), low = high < 0 ? -1 : hex_digit(text[i + 1]);

        if (low < 0)
            return arguments_refuse(arguments, "--key %s: after hex: come pairs of 0-9 and a-f",
                                    text);
        choice->key[(i - 4) / 2] = (char)(high << 4 | low);
    }
    choice->query.key = (struct sluice_bytes){choice->key, (size - 4) / 2};
    return EX_OK;
}

static int choose_time(const struct arguments *arguments, int64_t *ret_wall_us)
{
    if (dlq_parse_time(arguments->value, clock_wall(), ret_wall_us) != 0)
        return arguments_refuse(arguments,
                                "\"%s\" is no time; one is 2h (ago), 14:00, 2026-11-23 or "
                                "\"2026-11-23 14:00\", with Z for UTC",
                                arguments->value);
    return EX_OK;
}

/* `5`, `3..`, `..9`, `3..9`. */
static int choose_attempts(const struct arguments *arguments, struct dead_letter_query *query)
{
    const char *dots = strstr(arguments->value, "..");
    size_t head = dots ? (size_t)(dots - arguments->value) : strlen(arguments->value);
    char first[24];
    int64_t from = 0, to = 0;
    bool good = head < sizeof first;

    snprintf(first, sizeof first, "%.*s", (int)head, arguments->value);
    if (good && (head || !dots))
        good = units_parse_integer(first, &from) == 0 && from >= 0 && from <= UINT32_MAX;
    if (good && dots && dots[2])
        good = units_parse_integer(dots + 2, &to) == 0 && to > 0 && to <= UINT32_MAX && to >= from;
    else if (good && !dots)
        to = from;
    if (!good || (!from && !to))
        return arguments_refuse(arguments,
                                "--attempts %s: expected a number above 0 or a range such as 3.., "
                                "..9 or 3..9",
                                arguments->value);
    query->attempts_from = (uint32_t)from;
    query->attempts_to = (uint32_t)to;
    return EX_OK;
}

static int choose_sort(const struct arguments *arguments, struct dead_letter_query *query)
{
    static const char *const orders[] = {"newest", "oldest", "attempts"};

    for (unsigned i = 0; i < 3; i++)
        if (strcmp(arguments->value, orders[i]) == 0) {
            query->sort = (enum dead_letter_sort)i;
            return EX_OK;
        }
    return arguments_refuse(arguments, "--sort takes newest, oldest or attempts, not %s",
                            arguments->value);
}

static int choose_limit(const struct arguments *arguments, struct dead_letter_query *query)
{
    int64_t limit;

    if (units_parse_integer(arguments->value, &limit) != 0 || limit < 0 || limit > UINT32_MAX)
        return arguments_refuse(arguments, "--limit takes a number, 0 for all");
    query->limit = (uint32_t)limit;
    return EX_OK;
}

/* Letters of a mapping, such as `--json`, do not choose. */
static bool chooses(int option)
{
    return option < DLQ_SORT;
}

/* A filter given again would silently replace the first one: what is discarded would be more than meant. */
static int check_once(struct dlq_choice *choice, const struct arguments *arguments, int option)
{
    static const struct arguments_option shared[] = {DLQ_OPTIONS}; /* browse has a table of its own */
    const unsigned either = 1u << DLQ_REPLAYED | 1u << DLQ_NEVER_REPLAYED;
    bool again = (choice->given & 1u << option) != 0;

    choice->given |= 1u << option;
    if ((choice->given & either) == either)
        return arguments_refuse(arguments, "either --replayed or --never-replayed, not both");
    if (again && option != DLQ_REPLAYED && option != DLQ_NEVER_REPLAYED)
        return arguments_refuse(arguments, "--%s twice; %s", shared[option].name,
                                option == DLQ_SINCE || option == DLQ_UNTIL || option == DLQ_WHERE
                                    ? "give it once"
                                    : "a letter has one: give the command for each");
    return EX_OK;
}

static int check_range(const struct arguments *arguments, const struct dead_letter_query *query)
{
    if (query->since_wall_us && query->until_wall_us &&
        query->since_wall_us >= query->until_wall_us)
        return arguments_refuse(arguments, "--since is not before --until: no time is left between "
                                           "them");
    return EX_OK;
}

int dlq_choice_option(struct dlq_choice *choice, const struct arguments *arguments, int option)
{
    struct dead_letter_query *query = &choice->query;
    int code = chooses(option) ? check_once(choice, arguments, option) : EX_OK;

    if (code != EX_OK)
        return code;
    choice->filtered |= chooses(option);
    switch (option) {
    case DLQ_MAPPING:
        query->mapping = arguments->value;
        return EX_OK;
    case DLQ_CLASS:
        return choose_class(arguments, query);
    case DLQ_STATUS:
        return choose_status(arguments, query);
    case DLQ_ERROR:
        return choose_error(arguments, query);
    case DLQ_WHERE:
        return choose_where(arguments, choice);
    case DLQ_KEY:
        return choose_key(arguments, choice);
    case DLQ_TOKEN:
        query->token = arguments->value;
        return EX_OK;
    case DLQ_SINCE:
        code = choose_time(arguments, &query->since_wall_us);
        return code == EX_OK ? check_range(arguments, query) : code;
    case DLQ_UNTIL:
        code = choose_time(arguments, &query->until_wall_us);
        return code == EX_OK ? check_range(arguments, query) : code;
    case DLQ_ATTEMPTS:
        return choose_attempts(arguments, query);
    case DLQ_REPLAYED:
        query->replayed = DEAD_LETTER_REPLAYED;
        return EX_OK;
    case DLQ_NEVER_REPLAYED:
        query->replayed = DEAD_LETTER_NEVER_REPLAYED;
        return EX_OK;
    case DLQ_SORT:
        return choose_sort(arguments, query);
    case DLQ_LIMIT:
        return choose_limit(arguments, query);
    case DLQ_JSON:
        choice->json = true;
        return EX_OK;
    default:
        choice->state = arguments->value;
        return EX_OK;
    }
}

int dlq_choice_mapping(struct dlq_choice *choice, const struct arguments *arguments)
{
    if (arguments->operand_count > 1)
        return arguments_refuse(arguments, "one mapping at most, not %s too",
                                arguments->operands[1]);
    if (arguments->operand_count && choice->query.mapping)
        return arguments_refuse(arguments, "--mapping %s and %s too", choice->query.mapping,
                                arguments->operands[0]);
    if (arguments->operand_count) {
        choice->query.mapping = arguments->operands[0];
        choice->filtered = true;
    }
    return EX_OK;
}

/* Ids are letters and digits: anything else would also be unfit to be said again on a terminal. */
static bool is_id(const char *text)
{
    return *text && strlen(text) <= 26 &&
           strspn(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz") == strlen(text);
}

int dlq_choice_ids(struct dlq_choice *choice, const struct arguments *arguments)
{
    for (int i = 0; i < arguments->operand_count; i++)
        if (!is_id(arguments->operands[i]))
            return arguments_refuse(arguments,
                                    "\"%.40s\" is no id (`sluice dlq ls` lists them)%s",
                                    arguments->operands[i],
                                    strcmp(arguments->usage->options[0].name, "mapping") == 0
                                        ? "; a mapping is chosen by --mapping"
                                        : "");
    if (arguments->operand_count && choice->filtered)
        return arguments_refuse(arguments, "either ids or filters, not both");
    choice->ids = arguments->operands;
    choice->id_count = arguments->operand_count;
    return EX_OK;
}

void dlq_choice_fini(struct dlq_choice *choice)
{
    free(choice->key);
    choice->key = NULL;
    free(choice->where);
    choice->query.where = choice->where = NULL;
}

/* ---- nothing ---- */

struct others {
    const char *mapping;
    bool there; /* it has letters after all */
    size_t count;
    char *names[OTHERS_NAMED];
};

static int see_other(void *argument, const struct dead_letter_group *group)
{
    struct others *others = argument;

    others->there |= strcmp(group->value, others->mapping) == 0;
    if (others->count < OTHERS_NAMED)
        others->names[others->count] = memory_text(group->value);
    others->count++;
    return others->there;
}

static void tell_others(const struct others *others)
{
    struct suggest suggest = suggest_begin(others->mapping);

    for (size_t i = 0; i < others->count && i < OTHERS_NAMED; i++)
        suggest_offer(&suggest, others->names[i]);
    fputs("None is of mapping ", stdout);
    dlq_line(others->mapping, strlen(others->mapping), NAME_SHOWN);
    fputs(suggest.nearest ? "; did you mean " : ", but of ", stdout);
    if (suggest.nearest)
        dlq_line(suggest.nearest, strlen(suggest.nearest), NAME_SHOWN);
    for (size_t i = 0; !suggest.nearest && i < others->count && i < OTHERS_NAMED; i++) {
        fputs(i ? ", " : "", stdout);
        dlq_line(others->names[i], strlen(others->names[i]), NAME_SHOWN);
    }
    puts(suggest.nearest ? "?" : others->count > OTHERS_NAMED ? " and others." : ".");
}

int dlq_choice_none(const struct dlq_choice *choice, struct dead_letter_store *store)
{
    struct others others = {.mapping = choice->query.mapping};
    const struct dead_letter_query all = {0};
    struct fault fault;

    if (choice->json)
        return DLQ_EXIT_NONE;
    puts("No dead letters match.");
    if (store && others.mapping &&
        store->ops->group(store, &all, "mapping", see_other, &others, &fault) == 0 &&
        !others.there && others.count)
        tell_others(&others);
    if (others.mapping && !others.there)
        dlq_elsewhere_tell(choice->state, others.mapping);
    for (size_t i = 0; i < others.count && i < OTHERS_NAMED; i++)
        free(others.names[i]);
    return DLQ_EXIT_NONE;
}

/* ---- as text ---- */

char *dlq_choice_text(int argc, char **argv)
{
    struct buffer text;
    char *copy;

    buffer_init(&text, TEXT_MOST);
    for (int i = 1; i < argc && !text.full; i++) {
        bool plain = *argv[i] && !argv[i][strcspn(argv[i], " \t\n'\"\\$`;&|<>()*?[]{}~#!")];

        if (i > 1)
            buffer_add(&text, " ", 1);
        if (!plain)
            buffer_add(&text, "'", 1);
        for (const char *at = argv[i]; *at; at++)
            if (*at == '\'')
                buffer_add_text(&text, "'\\''");
            else
                buffer_add(&text, at, 1);
        if (!plain)
            buffer_add(&text, "'", 1);
    }
    copy = memory_format("%s%s", buffer_text(&text), text.full ? " ..." : "");
    buffer_fini(&text);
    return copy;
}

/* ---- finding ---- */

struct candidates {
    size_t count;
    char ids[CANDIDATES][27];
    int64_t dead_wall_us[CANDIDATES];
};

static int gather(void *argument, const struct dead_letter *letter)
{
    struct candidates *candidates = argument;

    memcpy(candidates->ids[candidates->count], letter->id, sizeof letter->id);
    candidates->dead_wall_us[candidates->count] = letter->dead_wall_us;
    return ++candidates->count == CANDIDATES;
}

static void say_candidates(const char *command, const struct candidates *candidates,
                           const char *prefix)
{
    struct dlq_screen screen = dlq_screen();
    char ago[DLQ_TIME];

    fprintf(stderr, "sluice %s: \"%s\" is ambiguous:\n", command, prefix);
    for (size_t i = 0; i < candidates->count; i++)
        fprintf(stderr, "  %s  %s ago\n", candidates->ids[i],
                dlq_ago(&screen, candidates->dead_wall_us[i], ago));
    if (candidates->count == CANDIDATES)
        fputs("  ... and perhaps more\n", stderr);
}

int dlq_find(struct dead_letter_store *store, const char *command, const char *prefix,
             char ret_id[27])
{
    struct dead_letter_query query = {.id_prefix = prefix};
    struct candidates candidates = {0};
    struct fault fault;
    int code = EX_OK;

    if (store->ops->list(store, &query, 0, gather, &candidates, &fault) != 0) {
        code = dlq_failed(&fault);
    } else if (!candidates.count) {
        fprintf(stderr, "sluice %s: no dead letter's id begins with \"%s\"\n", command, prefix);
        code = EX_DATAERR;
    } else if (candidates.count > 1) {
        say_candidates(command, &candidates, prefix);
        code = EX_DATAERR;
    } else {
        memcpy(ret_id, candidates.ids[0], 27);
    }
    return code;
}

int dlq_choice_each(const struct dlq_choice *choice, struct dead_letter_store *store,
                    const char *command, int with_payload, dead_letter_each_fn each,
                    void *argument)
{
    struct fault fault;

    if (!choice->id_count)
        return store->ops->list(store, &choice->query, with_payload, each, argument, &fault) == 0
                   ? EX_OK
                   : dlq_failed(&fault);
    for (int i = 0; i < choice->id_count; i++) {
        char id[27];
        struct dead_letter_query query = {.id_prefix = id};
        int code = dlq_find(store, command, choice->ids[i], id);

        if (code != EX_OK)
            return code;
        if (store->ops->list(store, &query, with_payload, each, argument, &fault) != 0)
            return dlq_failed(&fault);
    }
    return EX_OK;
}

int dlq_choice_count(const struct dlq_choice *choice, struct dead_letter_store *store,
                     const char *command, uint64_t *ret_count)
{
    struct fault fault;
    char id[27];

    for (int i = 0; i < choice->id_count; i++) {
        int code = dlq_find(store, command, choice->ids[i], id);

        if (code != EX_OK)
            return code;
    }
    *ret_count = (uint64_t)choice->id_count;
    if (choice->id_count)
        return EX_OK;
    if (store->ops->count(store, &choice->query, ret_count, &fault) != 0)
        return dlq_failed(&fault);
    if (choice->query.limit && *ret_count > choice->query.limit)
        *ret_count = choice->query.limit;
    return EX_OK;
}
