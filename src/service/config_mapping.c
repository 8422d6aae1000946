/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/config_mapping.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "io/http_probe.h"
#include "io/plugin.h"
#include "service/config_filter.h"
#include "service/config_letters.h"
#include "service/config_rules.h"
#include "service/option_value.h"
#include "service/options.h"
#include "service/trial.h"

#define NAME_LONGEST 63
#define TOKEN_EXPECTED                                                                             \
    "position, message_id, key, hash, header:NAME or a JSON Pointer such as /order/id"

/* Parts of a mapping that replace the defaults whole: a mapping with bearer authentication does not
 * inherit a password. `source` is merged by itself, by connector. */
static const char *const whole_parts[] = {"source", "auth", "filter", "to", NULL};

/* ---- name ---- */

/* The mapping's name by its file: memory of its own, NULL with an error added. */
static char *read_name(const char *path, struct problems *problems)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    const char *dot = strrchr(base, '.');
    char *name = memory_text_n(base, dot ? (size_t)(dot - base) : strlen(base));
    size_t size = strlen(name);

    if (size && size <= NAME_LONGEST && *name != '-' &&
        !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        return name;
    problem_add(problems, (struct place){path, 0, 0},
                "the file's name is the mapping's name; \"%.80s\" is none: expected a-z, 0-9 and - "
                "(not first), at most %d of them",
                name, NAME_LONGEST);
    free(name);
    return NULL;
}

/* ---- token ---- */

static bool is_pointer(const char *text)
{
    const char *tilde = text;

    if (*text != '/')
        return false;
    while ((tilde = strchr(tilde, '~'))) {
        if (tilde[1] != '0' && tilde[1] != '1')
            return false;
        tilde++;
    }
    return true;
}

static void refuse_token(const struct sluice_values *settings, struct problems *problems)
{
    static const char *const words[] = {"position", "message_id", "key", "hash", "header:NAME"};
    const char *text = options_text(settings, "idempotency.token");
    struct place place = options_place(settings, "idempotency.token");
    struct suggest suggest = suggest_begin(text);
    size_t i;

    if (*text == '/') {
        problem_add(
            problems, place,
            "idempotency.token: found %s, expected a JSON Pointer (RFC 6901), in which ~ is "
            "written ~0 and / within a name ~1",
            option_value_found(options_node(settings, "idempotency.token")));
        return;
    }
    if (strncasecmp(text, "header", 6) == 0 || strcmp(text, "pointer") == 0 || !*text) {
        problem_add(problems, place, "idempotency.token: found \"%.40s\", expected %s", text,
                    strcmp(text, "pointer") == 0 ? "the JSON Pointer itself, such as /order/id"
                    : *text ? "the name of a header with it, as header:order-id"
                            : TOKEN_EXPECTED);
        return;
    }
    for (i = 0; i < sizeof words / sizeof words[0]; i++)
        suggest_offer(&suggest, words[i]);
    problem_add(problems, place, "idempotency.token: found %s, expected " TOKEN_EXPECTED "%s%s%s",
                option_value_found(options_node(settings, "idempotency.token")),
                suggest.nearest ? "; did you mean \"" : "", suggest.nearest ? suggest.nearest : "",
                suggest.nearest ? "\"?" : "");
}

/* Where nothing was chosen, a message is named as well as its source can: never lost for want of a
 * name. */
static enum token_source default_token(const struct mapping *mapping)
{
    uint32_t can = mapping->capabilities;

    return !(can & SLUICE_HAS_STABLE_IDENTITY) && can & SLUICE_HAS_MESSAGE_ID ? TOKEN_MESSAGE_ID
                                                                              : TOKEN_POSITION;
}

/* Positions that are not recorded (see poller_keeps_positions) say nothing after a crash; the source's
 * own name for the message does, recorded as any other token. */
static void by_identity(const struct mapping *mapping, struct token_settings *token)
{
    uint32_t can = mapping->capabilities;

    if (token->source != TOKEN_POSITION || !(can & SLUICE_HAS_STABLE_IDENTITY) ||
        can & SLUICE_CAN_SETTLE_UP_TO)
        return;
    token->source = TOKEN_IDENTITY;
    token->on_missing = TOKEN_MISSING_POSITION;
}

static void read_token(const struct mapping *mapping, struct token_settings *token,
                       struct problems *problems)
{
    static const struct {
        const char *text;
        enum token_source source;
    } words[] = {{"message_id", TOKEN_MESSAGE_ID},
                 {"key", TOKEN_KEY},
                 {"hash", TOKEN_HASH}};
    const struct sluice_values *settings = mapping->settings;
    const char *text = options_text(settings, "idempotency.token");
    size_t i;

    token->ttl_us = options_number(settings, "idempotency.ttl");
    token->on_conflict = (enum token_conflict)options_choice(settings, "idempotency.on_conflict");
    token->source = text ? TOKEN_POSITION : default_token(mapping);
    token->on_missing =
        options_is_set(settings, "idempotency.on_missing")
            ? (enum token_missing)options_choice(settings, "idempotency.on_missing")
        : token->source == TOKEN_MESSAGE_ID ? TOKEN_MISSING_POSITION
                                            : TOKEN_MISSING_DEAD_LETTER;
    if (!text || strcmp(text, "position") == 0) {
        by_identity(mapping, token);
        return;
    }
    for (i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].text, text) == 0) {
            token->source = words[i].source;
            return;
        }
    if (strncmp(text, "header:", 7) == 0 && text[7]) {
        token->source = TOKEN_HEADER;
        token->argument = memory_text(text + 7);
    } else if (is_pointer(text)) {
        token->source = TOKEN_POINTER;
        token->argument = memory_text(text);
    } else {
        refuse_token(settings, problems);
    }
}

/* ---- target ---- */

static char *copy_text(const struct sluice_values *settings, const char *name)
{
    const char *text = options_text(settings, name);

    return text ? memory_text(text) : NULL;
}

static bool is_header_name(const char *name)
{
    return *name && !name[strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ")];
}

/* NULL, or why this header cannot be sent. */
static const char *find_header_fault(const char *name, const char *value)
{
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                       "Expect",         "Content-Type",      "Idempotency-Key"};
    size_t i;

    if (!is_header_name(name))
        return "this is no name for an HTTP header";
    for (i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcasecmp(ours[i], name) == 0)
            return "sluice sets this header itself; leave it out";
    for (; *value; value++)
        if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
            return "its value has a line break or another control character in it";
    return NULL;
}

char **config_mapping_headers(const struct sluice_values *settings, const char *option,
                              struct problems *problems)
{
    size_t count = options_count(settings, option), i;
    const struct node *node = options_node(settings, option);
    char **headers;

    if (!count)
        return NULL;
    headers = memory_zero(count + 1, sizeof *headers);
    for (i = 0; i < count; i++) {
        const char *value;
        const char *name = options_item(settings, option, i, &value);
        const char *fault = find_header_fault(name, value);
        const struct node *at = config_tree_find(node, name);

        if (fault)
            problem_add(problems, at ? at->place : node->place, "%s.%.80s: %s", option, name,
                        fault);
        headers[i] = memory_format("%s: %s", name, value);
    }
    return headers;
}

static void read_target(struct mapping *mapping, struct problems *problems)
{
    const struct sluice_values *settings = mapping->settings;
    struct http_settings *target = &mapping->target;
    struct fault fault;

    target->url = copy_text(settings, "target.http.url");
    if (target->url && http_probe_url(target->url, &fault) != 0)
        problem_add(problems, options_place(settings, "target.http.url"), "target.http.url: %s",
                    fault.text);
    target->unix_socket = copy_text(settings, "target.http.unix_socket");
    target->timeout_us = options_number(settings, "target.http.timeout");
    target->connect_timeout_us = options_number(settings, "target.http.connect_timeout");
    if (!options_is_written(settings, "target.http.connect_timeout") &&
        target->connect_timeout_us > target->timeout_us)
        target->connect_timeout_us = target->timeout_us;
    target->response_bytes = (size_t)options_number(settings, "target.http.response_limit");
    target->connections = (uint32_t)options_most(settings, "target.http.concurrency");
    target->username = copy_text(settings, "target.http.auth.basic.username");
    target->password = copy_text(settings, "target.http.auth.basic.password");
    target->token = copy_text(settings, "target.http.auth.bearer");
    target->auth = target->token                          ? HTTP_AUTH_BEARER
                   : target->username || target->password ? HTTP_AUTH_BASIC
                                                          : HTTP_AUTH_NONE;
    target->headers = config_mapping_headers(settings, "target.http.headers", problems);
    target->ca_file = copy_text(settings, "target.http.tls.ca_file");
    target->certificate_file = copy_text(settings, "target.http.tls.certificate_file");
    target->key_file = copy_text(settings, "target.http.tls.key_file");
    target->key_password = copy_text(settings, "target.http.tls.key_password");
    target->insecure = !options_number(settings, "target.http.tls.verify");
}

/* ---- rules ---- */

static int64_t clamp(int64_t number, int64_t least, int64_t most)
{
    return number < least ? least : number > most ? most : number;
}

static void read_rules(struct mapping *mapping, struct problems *problems)
{
    const struct sluice_values *settings = mapping->settings;
    struct rules *rules = &mapping->rules;
    bool ordered = mapping->capabilities & SLUICE_IS_ORDERED;

    rules->order = options_is_set(settings, "order") ? (enum order)options_choice(settings, "order")
                   : ordered                         ? ORDER_LANE
                                                     : ORDER_NONE;
    rules->format = (enum envelope_format)options_choice(settings, "target.format");
    rules->batch.size = (uint32_t)options_number(settings, "batch.size");
    if (rules->format == ENVELOPE_RAW && !options_is_written(settings, "batch.size"))
        rules->batch.size = 1;
    rules->batch.bytes = (size_t)options_number(settings, "batch.bytes");
    rules->batch.window_us = options_number(settings, "batch.window");
    rules->partial_response = options_number(settings, "target.report_failures");
    rules->retry.attempts = (uint32_t)options_number(settings, "retry.attempts");
    rules->retry.backoff_first_us = options_number(settings, "retry.backoff");
    rules->retry.backoff_most_us = options_most(settings, "retry.backoff");
    rules->retry.probe_first_us = options_number(settings, "retry.probe");
    rules->retry.probe_most_us = options_most(settings, "retry.probe");
    rules->retry.age_us = options_number(settings, "retry.age");
    rules->retry.patience_us = options_number(settings, "retry.patience");
    rules->retry.split = options_number(settings, "retry.split");
    rules->retry.park_after_us = options_number(settings, "retry.park_after");
    rules->retry.park_bytes = (size_t)options_number(settings, "retry.park_bytes");
    rules->concurrency.least = (uint32_t)options_number(settings, "target.http.concurrency");
    rules->concurrency.most = (uint32_t)options_most(settings, "target.http.concurrency");
    rules->distance = (uint32_t)options_number(settings, "buffer.distance");
    rules->buffer_messages =
        options_is_set(settings, "buffer.messages")
            ? (uint32_t)options_number(settings, "buffer.messages")
            : (uint32_t)clamp(INT64_C(2) * rules->batch.size * rules->concurrency.most, 1000,
                              100000);
    rules->buffer_bytes =
        options_is_set(settings, "buffer.bytes")
            ? (size_t)options_number(settings, "buffer.bytes")
            : (size_t)clamp(INT64_C(2) * (int64_t)rules->batch.bytes, INT64_C(64) << 20, INT64_MAX);
    read_token(mapping, &rules->token, problems);
}

static void read_settings(struct mapping *mapping, struct problems *problems)
{
    const struct sluice_values *settings = mapping->settings;

    read_target(mapping, problems);
    read_rules(mapping, problems);
    mapping->pollers = (uint32_t)options_number(settings, "pollers");
    mapping->dead_letter_keep_us = options_number(settings, "dead_letter.keep");
    mapping->dead_letter_limits = (struct recorder_limits){
        .count = (uint64_t)options_number(settings, "dead_letter.max_count"),
        .bytes = (uint64_t)options_number(settings, "dead_letter.max_bytes"),
        .drop_oldest = options_choice(settings, "dead_letter.on_full") == 1,
    };
    mapping->drain_us = options_is_set(settings, "drain")
                            ? options_number(settings, "drain")
                            : clamp(mapping->target.timeout_us, 30 * CLOCK_SECOND, CLOCK_HOUR);
    if (options_is_set(settings, "filter"))
        mapping->filter = config_filter_read(options_node(settings, "filter"),
                                             &mapping->filter_text, problems);
    mapping->collects = options_choice(settings, "receive") == 1;
    mapping->keeps_filtered = options_choice(settings, "on_filtered") == 1;
}

/* ---- source ---- */

/* The one entry of `source`; NULL with an error added. */
static const struct node_entry *find_source(const struct node *source, struct problems *problems)
{
    if (source->kind != NODE_MAP || source->count == 0) {
        problem_add(problems, source->place,
                    "source: found %s, expected the name of a connector and its options, as "
                    "kafka: { brokers: ... }",
                    source->kind == NODE_MAP ? "an empty map" : option_value_found(source));
        return NULL;
    }
    if (source->count > 1) {
        problem_add(problems, source->entries[1].place,
                    "source: found both %.63s and %.63s, expected one connector; write a mapping "
                    "for each",
                    source->entries[0].name, source->entries[1].name);
        return NULL;
    }
    return &source->entries[0];
}

static void read_source(const struct mapping_context *context, struct mapping *mapping)
{
    const struct node *source = options_node(mapping->settings, "source");
    const struct node_entry *entry = source ? find_source(source, context->problems) : NULL;
    const struct node *defaults = config_tree_find(context->defaults, "source");
    const struct plugin *plugin;
    struct fault fault;
    size_t before;
    char *prefix;

    if (!entry)
        return;
    plugin = plugin_load(entry->name, context->connector_directory, &fault);
    if (!plugin) {
        problem_add(context->problems, entry->place, "source.%.63s: %s", entry->name, fault.text);
        return;
    }
    mapping->connector = &plugin->connector;
    mapping->capabilities = plugin->connector.capabilities;
    before = context->problems->errors;
    prefix = memory_format("source.%s", plugin->name);
    mapping->values =
        options_read(plugin->connector.options, prefix,
                     config_tree_merge(context->pool, config_tree_find(defaults, plugin->name),
                                       entry->value, NULL),
                     entry->place, context->problems);
    free(prefix);
    if (context->problems->errors != before)
        return;
    mapping->capabilities = mapping_capabilities(mapping->connector, mapping->values);
    trial_open(mapping->connector, mapping->values, entry->place, context->problems);
}

/* What no other mapping may share, as text for people. */
static char *print_source_group(const struct mapping *mapping)
{
    static const char *const parts[] = {"brokers", "topic", "group"};
    struct buffer text;
    char *copy = NULL;
    size_t i;

    if (!mapping->connector || !options_known(mapping->values, "group") ||
        !options_is_set(mapping->values, "group"))
        return NULL;
    buffer_init(&text, 64 * 1024);
    buffer_add_text(&text, mapping->connector->name);
    for (i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (options_known(mapping->values, parts[i])) {
            buffer_add_text(&text, " ");
            options_print(mapping->values, parts[i], &text);
        }
    copy = memory_text(buffer_text(&text));
    buffer_fini(&text);
    return copy;
}

static void set_revision(struct mapping *mapping)
{
    struct buffer text;

    buffer_init(&text, 4 * CONFIG_FILE_MAX);
    options_print_all(mapping->settings, &text);
    if (mapping->values)
        options_print_all(mapping->values, &text);
    if (mapping->letters_to.name)
        buffer_add_text(&text, mapping->letters_to.name);
    else if (mapping->letters_to.values)
        options_print_all(mapping->letters_to.values, &text);
    if (mapping->filter_text)
        buffer_add_text(&text, mapping->filter_text);
    snprintf(mapping->revision, sizeof mapping->revision, "%016" PRIx64,
             (uint64_t)XXH3_64bits(text.data, text.size));
    buffer_fini(&text);
}

static void add_identity(void *argument, const void *data, size_t size)
{
    XXH3_128bits_update(argument, data, size);
}

static void set_identity(struct mapping *mapping)
{
    static const char nothing[1024];
    XXH3_state_t *state = XXH3_createState();
    XXH128_hash_t hash;

    XXH3_128bits_reset(state);
    options_identify(mapping->settings, add_identity, state);
    if (mapping->values)
        options_identify(mapping->values, add_identity, state);
    if (mapping->letters_to.name)
        add_identity(state, mapping->letters_to.name, strlen(mapping->letters_to.name) + 1);
    else if (mapping->letters_to.values) {
        add_identity(state, mapping->letters_to.connector->name,
                     strlen(mapping->letters_to.connector->name) + 1);
        options_identify(mapping->letters_to.values, add_identity, state);
    }
    if (mapping->filter_text)
        add_identity(state, mapping->filter_text, strlen(mapping->filter_text));
    hash = XXH3_128bits_digest(state);
    mapping->identity[0] = hash.low64;
    mapping->identity[1] = hash.high64;
    XXH3_128bits_update(state, nothing, sizeof nothing); /* its buffer may hold a secret */
    XXH3_freeState(state);
}

struct mapping *config_mapping_read(const struct mapping_context *context, const char *path)
{
    const struct node *tree = config_tree_read(context->pool, path, context->problems);
    struct mapping *mapping;
    struct place place;
    char *name = read_name(path, context->problems);

    if (!tree || !name) {
        free(name);
        return NULL;
    }
    place = (struct place){tree->place.file, 1, 1};
    if (tree->kind != NODE_MAP) {
        problem_add(context->problems, place,
                    "found %s, expected a mapping with at least `source:` and `target:`",
                    tree->kind == NODE_NULL ? "an empty file" : option_value_found(tree));
        free(name);
        return NULL;
    }
    mapping = memory_zero(1, sizeof *mapping);
    mapping->name = name;
    mapping->file = memory_text(path);
    mapping->settings = options_read(
        mapping_table, NULL, config_tree_merge(context->pool, context->defaults, tree, whole_parts),
        place, context->problems);
    read_source(context, mapping);
    read_settings(mapping, context->problems);
    config_letters_read(context, mapping);
    config_rules_check(mapping, context->problems);
    mapping->source_group = print_source_group(mapping);
    set_revision(mapping);
    set_identity(mapping);
    return mapping;
}
