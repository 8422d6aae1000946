/* SPDX-License-Identifier: MIT
 * `sluice dlq show`: one letter with its whole story. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/control.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_curl.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"
#include "io/control_client.h"
#include "io/http_client.h"
#include "service/config.h"

#define PAYLOAD_MOST ((size_t)64 << 10) /* shown; --payload prints all */
#define NAME_WIDTH   10
#define NOW_US       (2 * CLOCK_SECOND) /* for the running service to answer */

enum { JSON, PAYLOAD, HEADERS, RAW, CURL, CONFIG, STATE };

static const struct arguments_option options[] = {
    [JSON] = {"json", 'j', NULL, "Print it as a JSON object, with headers and payload."},
    [PAYLOAD] = {"payload", 'p', NULL, "Print the payload alone, byte for byte."},
    [HEADERS] = {"headers", 'H', NULL, "Print the headers alone."},
    [RAW] = {"raw", 'r', NULL, "Do not lay JSON out, do not dump what is binary."},
    [CURL] = {"curl", 0, NULL, "Print a command that repeats the call by hand."},
    [CONFIG] = {"config", 'C', "DIR", "For --curl: read DIR/sluice.yaml and its mappings."},
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
    bool json, payload, headers, raw, curl;
    const char *config;
    struct configuration *configuration;
    int code;
    struct dlq_screen screen;
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
    case DEAD_FOREIGN:
        return "something else gave it up, and a mapping found it there (receive: dead_letters)";
    case DEAD_BURIED:
        return "somebody buried it while it was parked (sluice parked bury)";
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

static void field_bytes(const struct show *show, const char *title, struct sluice_bytes bytes)
{
    name(show, title);
    dlq_line(bytes.data, bytes.size, UINT_MAX);
    putchar('\n');
}

static void show_time(const struct show *show, const char *title, int64_t wall_us)
{
    char time[DLQ_TIME], ago[DLQ_TIME];

    name(show, title);
    printf("%s (%s ago)\n", dlq_time(wall_us, time), dlq_ago(&show->screen, wall_us, ago));
}

/* How the mapping's file is now, where the service runs: what the letter died of may be mended. */
static void show_revision(const struct show *show, const struct dead_letter *letter)
{
    char *socket = control_find(&(struct control_place){.state = show->state});
    char *path = memory_format("/v1/mappings/%s", letter->mapping);
    json_t *answer = NULL;
    struct fault fault;
    const char *now = NULL;

    if (control_could_be_mapping(letter->mapping) && !access(socket, F_OK)) {
        http_client_global_init();
        if (control_client_ask(socket, "GET", path, NULL, NOW_US, &answer, &fault) ==
            CONTROL_ANSWERED)
            now = json_string_value(json_object_get(answer, "revision"));
    }
    name(show, "revision");
    dlq_line(letter->revision, strlen(letter->revision), UINT_MAX);
    if (now && strcmp(now, letter->revision) == 0) {
        fputs(", as it is now", stdout);
    } else if (now) {
        fputs("; now it is ", stdout);
        dlq_line(now, strlen(now), UINT_MAX);
    }
    putchar('\n');
    json_decref(answer);
    free(path);
    free(socket);
}

static void show_message(const struct show *show, const struct dead_letter *letter)
{
    char ago[DLQ_TIME];

    field(show, "mapping", letter->mapping);
    if (*letter->revision)
        show_revision(show, letter);
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
        show_time(show, letter->timestamp_kind == SLUICE_TIMESTAMP_APPENDED ? "appended" : "produced",
                  letter->message_wall_us);
    if (letter->message_id.data)
        field_bytes(show, "message id", letter->message_id);
    if (letter->identity.data)
        field_bytes(show, "identity", letter->identity);
    if (letter->delivery_count) {
        name(show, "delivered");
        printf("%u time%s before\n", letter->delivery_count, letter->delivery_count == 1 ? "" : "s");
    }
    if (*letter->token)
        field(show, "token", letter->token);
    if (letter->replay_count) {
        name(show, "replayed");
        printf("%u time%s, the last ", letter->replay_count, letter->replay_count == 1 ? "" : "s");
        printf("%s ago\n", dlq_ago(&show->screen, letter->replayed_wall_us, ago));
    }
    if (letter->forced) {
        name(show, "");
        puts("with a token of its own (--force)");
    }
    if (letter->edit_count) {
        name(show, "edited");
        printf("%u time%s\n", letter->edit_count, letter->edit_count == 1 ? "" : "s");
    }
}

static void show_attempts(const struct show *show, const struct dead_letter *letter)
{
    char time[DLQ_TIME], took[UNITS_TEXT], status[16];

    if (!letter->attempt_count && !letter->attempts_kept)
        return;
    printf("\nAttempts: %u", letter->attempt_count);
    if (!letter->attempts_kept)
        fputs(", told by who gave it up", stdout);
    else if (letter->attempts_kept < letter->attempt_count)
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

static void show_bytes(const struct show *show, const char *title, struct sluice_bytes bytes)
{
    if (!bytes.data) {
        printf("\n%s: absent\n", title);
        return;
    }
    printf("\n%s: %zu byte%s%s%s\n", title, bytes.size, bytes.size == 1 ? "" : "s",
           bytes.size ? ", " : "", bytes.size ? dlq_content(bytes) : "");
    if (show->raw && bytes.size > PAYLOAD_MOST) {
        dlq_block(bytes.data, PAYLOAD_MOST, 2);
        printf("  ... %zu bytes more (--payload prints all)\n", bytes.size - PAYLOAD_MOST);
    } else if (show->raw) {
        dlq_block(bytes.data, bytes.size, 2);
    } else {
        dlq_payload(bytes, 2, PAYLOAD_MOST);
    }
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
        show_bytes(show, "Last answer", letter->response);
    if (letter->header_count) {
        printf("\nHeaders: %zu\n", letter->header_count);
        show_headers(letter, 2);
    }
    if (letter->key.data)
        show_bytes(show, "Key", letter->key);
    show_bytes(show, letter->edit_count ? "Payload, edited" : "Payload", letter->payload);
    if (letter->edit_count)
        show_bytes(show, "Original payload", letter->original);
}

/* Raw to a file or pipe; a terminal gets what it cannot be harmed by. */
static void write_payload(const struct show *show, const struct dead_letter *letter)
{
    if (show->screen.terminal && show->raw)
        dlq_block(letter->payload.data, letter->payload.size, 0);
    else if (show->screen.terminal)
        dlq_payload(letter->payload, 0, SIZE_MAX / 4);
    else if (letter->payload.size)
        fwrite(letter->payload.data, 1, letter->payload.size, stdout);
}

static int print_curl(const struct show *show, const struct dead_letter *letter)
{
    for (size_t i = 0; i < show->configuration->mapping_count; i++)
        if (strcmp(show->configuration->mappings[i]->name, letter->mapping) == 0) {
            dlq_curl(show->configuration->mappings[i], letter);
            return EX_OK;
        }
    fprintf(stderr, "sluice dlq show: its mapping is not in the configuration; --config DIR names "
                    "another one\n");
    return EX_CONFIG;
}

static int see(void *argument, const struct dead_letter *letter)
{
    struct show *show = argument;

    if (show->curl) {
        show->code = print_curl(show, letter);
    } else if (show->json) {
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

static int print_show(struct show *show, struct dead_letter_store *store)
{
    char id[27];
    struct dead_letter_query query = {.id_prefix = id};
    struct fault fault;
    int code = dlq_find(store, usage.command, show->prefix, id);

    if (code == EX_OK && store->ops->list(store, &query, 1, see, show, &fault) != 0)
        code = dlq_failed(&fault);
    return code == EX_OK ? show->code : code;
}

int dlq_show(int argc, char **argv)
{
    struct show show = {.screen = dlq_screen()};
    struct dead_letter_store *store;
    struct dlq_choice choice = {0};
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        show.json |= option == JSON;
        show.payload |= option == PAYLOAD;
        show.headers |= option == HEADERS;
        show.raw |= option == RAW;
        show.curl |= option == CURL;
        if (option == CONFIG)
            show.config = arguments.value;
        if (option == STATE)
            show.state = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count != 1)
        return arguments_refuse(&arguments, "one id, as `sluice dlq ls` lists them");
    if (show.json + show.curl + (show.payload || show.headers) > 1)
        return arguments_refuse(&arguments,
                                "either --json, --curl, or the parts --payload and --headers");
    if ((code = dlq_choice_ids(&choice, &arguments)) != EX_OK)
        return code;
    show.prefix = arguments.operands[0];
    if (show.curl) {
        show.configuration =
            dlq_configuration(show.config, &(struct overrides){.state_directory = show.state});
        if (!show.configuration)
            return EX_CONFIG;
    }
    directory = state_directory_find(show.configuration ? show.configuration->service.state_directory
                                                 : show.state);
    store = dlq_open(directory, true, &code);
    if (!store && code == EX_OK) {
        fprintf(stderr, "sluice dlq show: there are no dead letters yet in %s\n", directory);
        code = EX_DATAERR;
    }
    free(directory);
    if (store) {
        code = print_show(&show, store);
        store->ops->close(store);
    }
    configuration_free(show.configuration);
    return code;
}
