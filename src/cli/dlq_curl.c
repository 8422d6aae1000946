/* SPDX-License-Identifier: MIT */
#include "cli/dlq_curl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/connector.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/envelope.h"
#include "core/token.h"

#define BODY_MOST     ((size_t)1 << 30)
#define ARGUMENT_MOST ((size_t)64 << 10) /* of one word; the kernel takes twice that */
#define LINE          76                 /* of base64 */

/* ---- quoting ---- */

/* In single quotes; only for what is_plain says yes to, and texts from checked files. */
static void print_word(const char *text, size_t size)
{
    putchar('\'');
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\'')
            fputs("'\\''", stdout);
        else
            putchar(text[i]);
    }
    putchar('\'');
}

static void print_option(const char *option, const char *value)
{
    printf(" \\\n  %s ", option);
    print_word(value, strlen(value));
}

static bool is_plain(const struct buffer *body)
{
    for (size_t i = 0; i < body->size; i++)
        if (body->data[i] < 0x20 || body->data[i] > 0x7e)
            return false;
    return body->size <= ARGUMENT_MOST;
}

/* A Structured Fields string (RFC 9651): what is not printable ASCII is percent-encoded. */
static void print_token(const struct dead_letter *letter)
{
    char token[TOKEN_BYTES_MOST + 16];
    size_t size = dead_letter_token(letter, token, sizeof token);

    fputs(" \\\n  -H 'Idempotency-Key: \"", stdout);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)token[i];

        if (byte < 0x20 || byte > 0x7e)
            printf("%%%02X", byte);
        else if (byte == '\'')
            fputs("'\\''", stdout);
        else
            printf("%s%c", byte == '"' || byte == '\\' ? "\\" : "", byte);
    }
    fputs("\"'", stdout);
}

/* `X-Api-Key: value` as `X-Api-Key: $X_API_KEY`, for the shell to fill in. */
static void print_hidden(const char *header)
{
    size_t name = strcspn(header, ":");

    printf(" \\\n  -H \"%.*s: $", (int)name, header);
    for (size_t i = 0; i < name; i++)
        putchar(isalnum((unsigned char)header[i]) ? toupper((unsigned char)header[i]) : '_');
    putchar('"');
}

/* ---- parts ---- */

static void print_target(const struct http_settings *target)
{
    char seconds[32];

    snprintf(seconds, sizeof seconds, "%g", (double)target->timeout_us / CLOCK_SECOND);
    print_option("--max-time", seconds);
    if (target->unix_socket)
        print_option("--unix-socket", target->unix_socket);
    if (target->ca_file)
        print_option("--cacert", target->ca_file);
    if (target->certificate_file)
        print_option("--cert", target->certificate_file);
    if (target->key_file)
        print_option("--key", target->key_file);
    if (target->insecure)
        fputs(" \\\n  --insecure", stdout);
    if (target->auth == HTTP_AUTH_BEARER)
        fputs(" \\\n  -H \"Authorization: Bearer $TOKEN\"", stdout);
    if (target->auth == HTTP_AUTH_BASIC) {
        fputs(" \\\n  -u ", stdout);
        print_word(target->username, strlen(target->username));
        fputs("\":$PASSWORD\"", stdout);
    }
    for (char **header = target->headers; header && *header; header++)
        print_hidden(*header);
}

static void print_base64(const struct buffer *body)
{
    char *text = memory_new(BASE64_SIZE(body->size) + 1);
    size_t size = (size_t)(base64_write(text, body->data, body->size) - text);

    for (size_t at = 0; at < size; at += LINE)
        printf("%.*s\n", (int)(size - at < LINE ? size - at : LINE), text + at);
    free(text);
}

void dlq_curl(const struct mapping *mapping, const struct dead_letter *letter)
{
    char token[TOKEN_BYTES_MOST + 16], *servers = mapping_servers(mapping);
    const struct sluice_message message = dead_letter_message(letter);
    const struct envelope_record record = {.message = &message,
                                           .headers = letter->headers,
                                           .header_count = letter->header_count,
                                           .source = letter->source,
                                           .partition = letter->partition,
                                           .token = token,
                                           .token_size =
                                               dead_letter_token(letter, token, sizeof token),
                                           .attempt = 1};
    const struct envelope_context context = {.format = mapping->rules.format,
                                             .mapping = mapping->name,
                                             .kind = mapping_kind(mapping),
                                             .servers = servers};
    struct buffer body;
    char *type;

    buffer_init(&body, BODY_MOST);
    envelope_write(&body, &context, &record, 1);
    type = memory_format("Content-Type: %s", envelope_content_type(&context, &record));
    if (!is_plain(&body))
        fputs("base64 -d <<'END' | ", stdout);
    fputs("curl -sS -i ", stdout);
    print_word(mapping->target.url, strlen(mapping->target.url));
    print_option("-H", type);
    print_token(letter);
    printf(" \\\n  -H 'Sluice-Mapping: %s' \\\n  -H 'Sluice-Attempt: 1'", mapping->name);
    print_target(&mapping->target);
    fputs(" \\\n  --data-binary ", stdout);
    if (is_plain(&body)) {
        print_word(body.data ? body.data : "", body.size);
        putchar('\n');
    } else {
        puts("@-");
        print_base64(&body);
        puts("END");
    }
    free(type);
    free(servers);
    buffer_fini(&body);
}
