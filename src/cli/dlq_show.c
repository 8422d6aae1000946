/* SPDX-License-Identifier: MIT
 * `sluice dlq show`: one letter with its whole story. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/units.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define CANDIDATES   10
#define PAYLOAD_MOST ((size_t)64 << 10) /* shown; --payload prints all */
#define NAME_WIDTH   10

enum { JSON, PAYLOAD, HEADERS, STATE };

static const struct arguments_option options[] = {
    [JSON] = {"json", 'j', NULL, "Print it as a JSON object, with headers and payload."},
    [PAYLOAD] = {"payload", 'p', NULL, "Print the payload alone, byte for byte."},
    [HEADERS] = {"headers", 'H', NULL, "Print the headers alone."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service does not use its usual one."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq show",
    .synopsis = "[OPTION...] ID",
    .description =
        "Shows a dead letter: the message, why it was given up, and every attempt kept.\n"
        "The first characters of its id will do where no other letter's begins so.",
    .options = options,
    .examples = "  sluice dlq show 01KAS7M3Q2\n"
                "  sluice dlq show --payload 01KAS7M3Q2 | jq .\n"
                "  sluice dlq show --json 01KAS7M3Q2 | jq '.attempts[-1]'",
};

struct show {
    const char *prefix, *state;
    bool json, payload, headers;
    struct dlq_screen screen;
    int code;
    struct {
        char id[27];
        char *mapping, *reason;
        int64_t dead_wall_us;
    } candidates[CANDIDATES];
    size_t count;
};

static const char *explain(enum dead_letter_class class)
{
    switch (class) {
    case DEAD_ATTEMPTS:
        return "it failed as often as retry.attempts allows, while another message worked";
    case DEAD_POISON:
        return "the function said that it can never work, while another message worked";
    case DEAD_NAMED:
        return "the function named it as failed, as often as retry.attempts allows";
    case DEAD_PATIENCE:
        return "its attempts were used up, and no other message came within retry.patience";
    case DEAD_AGE:
        return "it kept failing for longer than retry.age";
    case DEAD_TOO_LARGE:
        return "it is larger than the target takes";
    case DEAD_TOKEN_MISSING:
        return "it has no idempotency token (idempotency.on_missing: dead_letter)";
    case DEAD_TOKEN_CONFLICT:
        return "its token was used for another payload (idempotency.on_conflict: dead_letter)";
    case DEAD_FILTERED:
        return "the filter left it out (on_filtered: dead_letter)";
    }
    return "a newer version of sluice knows";
}

static void name(const struct show *show, const char *text)
{
    dlq_style(&show->screen, "dim");
    printf("  %-*s ", NAME_WIDTH, text);
    dlq_style(&show->screen, "plain");
}

static void field(const struct show *show, const char *title, const char *text)
{
    name(show, title);
    dlq_line(text, strlen(text), UINT_MAX);
    putchar('\n');
}

static void show_time(const struct show *show, const char *title, int64_t wall_us)
{
    char time[DLQ_TIME], ago[DLQ_TIME];

    name(show, title);
    printf("%s (%s ago)\n", dlq_time(wall_us, time), dlq_ago(&show->screen, wall_us, ago));
}

static void show_message(const struct show *show, const struct dead_letter *letter)
{
    field(show, "mapping", letter->mapping);
    if (*letter->revision)
        field(show, "revision", letter->revision);
    name(show, "message");
    dlq_line(letter->lane, strlen(letter->lane), UINT_MAX);
    printf(" at %llu", (unsigned long long)letter->position);
    if (*letter->connector) {
        fputs(" (", stdout);
        dlq_line(letter->connector, strlen(letter->connector), UINT_MAX);
        putchar(')');
    }
    putchar('\n');
    if (letter->message_wall_us)
        show_time(show, "produced", letter->message_wall_us);
    if (*letter->token)
        field(show, "token", letter->token);
    if (letter->replay_count) {
        name(show, "replayed");
        printf("%u times\n", letter->replay_count);
    }
}

static void show_attempts(const struct show *show, const struct dead_letter *letter)
{
    char time[DLQ_TIME], took[UNITS_TEXT], status[16];

    if (!letter->attempt_count && !letter->attempts_kept)
        return;
    printf("\nAttempts: %u", letter->attempt_count);
    if (letter->attempts_kept < letter->attempt_count)
        printf(", the last %zu", letter->attempts_kept);
    putchar('\n');
    if (letter->attempts_kept)
        printf("  %-19s  %8s  %6s  %5s  %-11s  %s\n", "TIME", "TOOK", "STATUS", "BATCH", "OUTCOME",
               "ERROR");
    for (size_t i = 0; i < letter->attempts_kept; i++) {
        const struct dead_letter_attempt *attempt = &letter->attempts[i];
        int64_t rounded =
            attempt->duration_us < 1000 ? attempt->duration_us : attempt->duration_us / 1000 * 1000;

        if (attempt->status)
            snprintf(status, sizeof status, "%u", attempt->status);
        else
            strcpy(status, "-");
        printf("  %-19s  %8s  %6s  %5u  ", dlq_time(attempt->wall_us, time),
               units_print_duration(rounded, took), status, attempt->batch_size);
        dlq_pad(dlq_line(attempt->outcome, strlen(attempt->outcome), UINT_MAX), 11);
        dlq_line(attempt->error, strlen(attempt->error), UINT_MAX);
        putchar('\n');
    }
}

static void show_headers(const struct dead_letter *letter, unsigned indent)
{
    for (size_t i = 0; i < letter->header_count; i++) {
        const struct sluice_header *header = &letter->headers[i];

        printf("%*s", (int)indent, "");
        dlq_line(header->name.data, header->name.size, UINT_MAX);
        fputs(": ", stdout);
        if (header->value.data)
            dlq_line(header->value.data, header->value.size, UINT_MAX);
        else
            fputs("(absent)", stdout);
        putchar('\n');
    }
}

static void show_bytes(const char *title, struct sluice_bytes bytes)
{
    if (!bytes.data) {
        printf("\n%s: absent\n", title);
        return;
    }
    printf("\n%s: %zu byte%s%s%s\n", title, bytes.size, bytes.size == 1 ? "" : "s",
           bytes.size ? ", " : "", bytes.size ? dlq_content(bytes) : "");
    dlq_payload(bytes, 2, PAYLOAD_MOST);
}

static void show_letter(const struct show *show, const struct dead_letter *letter)
{
    dlq_style(&show->screen, "bold");
    printf("Dead letter %s\n", letter->id);
    dlq_style(&show->screen, "plain");
    show_time(show, "died", letter->dead_wall_us);
    name(show, "class");
    printf("%s: %s\n", dead_letter_class_name(letter->class), explain(letter->class));
    name(show, "reason");
    dlq_style(&show->screen, "red");
    dlq_line(letter->reason, strlen(letter->reason), UINT_MAX);
    dlq_style(&show->screen, "plain");
    putchar('\n');
    show_message(show, letter);
    show_attempts(show, letter);
    if (letter->response.data && letter->response.size)
        show_bytes("Last answer", letter->response);
    if (letter->header_count) {
        printf("\nHeaders: %zu\n", letter->header_count);
        show_headers(letter, 2);
    }
    if (letter->key.data)
        show_bytes("Key", letter->key);
    show_bytes("Payload", letter->payload);
}

/* Raw to a file or pipe; a terminal gets what it cannot be harmed by. */
static void write_payload(const struct show *show, const struct dead_letter *letter)
{
    if (show->screen.terminal)
        dlq_payload(letter->payload, 0, SIZE_MAX / 4);
    else if (letter->payload.size)
        fwrite(letter->payload.data, 1, letter->payload.size, stdout);
}

static int see(void *argument, const struct dead_letter *letter)
{
    struct show *show = argument;

    if (show->json) {
        dlq_json_print(dlq_json_letter(letter, true));
    } else if (show->payload || show->headers) {
        if (show->headers)
            show_headers(letter, 0);
        if (show->payload)
            write_payload(show, letter);
    } else {
        show_letter(show, letter);
    }
    return 1;
}

static int gather(void *argument, const struct dead_letter *letter)
{
    struct show *show = argument;

    memcpy(show->candidates[show->count].id, letter->id, sizeof letter->id);
    show->candidates[show->count].mapping = memory_text(letter->mapping);
    show->candidates[show->count].reason = memory_text(letter->reason);
    show->candidates[show->count].dead_wall_us = letter->dead_wall_us;
    return ++show->count == CANDIDATES;
}

/* stderr is a terminal too, so that what is said of letters goes through the same filter. */
static void say_candidates(const struct show *show)
{
    char ago[DLQ_TIME];

    printf("Several dead letters begin with %s:\n", show->prefix);
    for (size_t i = 0; i < show->count; i++) {
        printf("  %s  %4s ago  ", show->candidates[i].id,
               dlq_ago(&show->screen, show->candidates[i].dead_wall_us, ago));
        dlq_line(show->candidates[i].mapping, strlen(show->candidates[i].mapping), 20);
        fputs("  ", stdout);
        dlq_line(show->candidates[i].reason, strlen(show->candidates[i].reason), 40);
        putchar('\n');
    }
    if (show->count == CANDIDATES)
        puts("  ... and perhaps more");
}

static int print_show(struct show *show, struct dead_letter_store *store)
{
    struct dead_letter_query query = {.id_prefix = show->prefix};
    struct fault fault;
    int code = EX_OK;

    if (store->ops->list(store, &query, 0, gather, show, &fault) != 0) {
        code = dlq_failed(&fault);
    } else if (!show->count) {
        fprintf(stderr, "sluice dlq show: no dead letter's id begins with \"%s\"\n", show->prefix);
        code = EX_DATAERR;
    } else if (show->count > 1) {
        fprintf(stderr, "sluice dlq show: \"%s\" is ambiguous\n", show->prefix);
        if (!show->json && !show->payload && !show->headers)
            say_candidates(show);
        code = EX_DATAERR;
    } else {
        query.id_prefix = show->candidates[0].id;
        if (store->ops->list(store, &query, 1, see, show, &fault) != 0)
            code = dlq_failed(&fault);
    }
    for (size_t i = 0; i < show->count; i++) {
        free(show->candidates[i].mapping);
        free(show->candidates[i].reason);
    }
    return code;
}

/* Ids are letters and digits: anything else would also be unfit to be said again on a terminal. */
static bool is_id(const char *text)
{
    return *text && strlen(text) <= 26 &&
           strspn(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz") == strlen(text);
}

int dlq_show(int argc, char **argv)
{
    struct show show = {.screen = dlq_screen()};
    struct dead_letter_store *store;
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        show.json |= option == JSON;
        show.payload |= option == PAYLOAD;
        show.headers |= option == HEADERS;
        if (option == STATE)
            show.state = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count != 1)
        return arguments_refuse(&arguments, "one id, as `sluice dlq ls` lists them");
    show.prefix = arguments.operands[0];
    if (!is_id(show.prefix))
        return arguments_refuse(&arguments, "that is no id; `sluice dlq ls` lists them");
    directory = state_directory_find(show.state);
    store = dlq_open(directory, true, &code);
    if (!store && code == EX_OK) {
        fprintf(stderr, "sluice dlq show: there are no dead letters yet in %s\n", directory);
        code = EX_DATAERR;
    }
    free(directory);
    if (!store)
        return code;
    code = print_show(&show, store);
    store->ops->close(store);
    return code;
}
