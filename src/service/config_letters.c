/* SPDX-License-Identifier: MIT */
#include "service/config_letters.h"

#include <stdlib.h>
#include <string.h>

#include <sluice/connector.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "io/plugin.h"
#include "service/option_value.h"
#include "service/options.h"
#include "service/trial.h"

#define TO "dead_letter.to"

/* What a source or a place is called by, in the words of one connector or another. */
static const char *const names[] = {"topic",            "queue",         "exchange",
                                    "cloudflare.queue", "pubsub.topic", "sqs.queue",
                                    "generic.queue"};
#define LISTS 2 /* of them, from the first on, are lists that a source may have */

/* Of an HTTP queue, what is taken from is published to by one name, within what these say. */
static const char *const queues[] = {"cloudflare.queue", "sqs.queue"};
static const char *const within[] = {"dialect", "cloudflare.account", "sqs.region", "sqs.account"};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- headers ---- */

static void read_styles(struct mapping *mapping, struct problems *problems)
{
    static const struct {
        const char *name;
        unsigned style;
    } styles[] = {{"kafka-connect", LETTER_KAFKA_CONNECT},
                  {"spring", LETTER_SPRING},
                  {"rabbitmq", LETTER_RABBITMQ},
                  {"cloudevents", LETTER_CLOUDEVENTS}};
    size_t count = options_count(mapping->settings, "dead_letter.headers");

    for (size_t i = 0; i < count; i++) {
        const char *name = options_item(mapping->settings, "dead_letter.headers", i, NULL);
        struct suggest suggest = suggest_begin(name);
        unsigned found = 0;

        for (size_t j = 0; j < sizeof styles / sizeof styles[0]; j++) {
            suggest_offer(&suggest, styles[j].name);
            if (strcmp(styles[j].name, name) == 0)
                found = styles[j].style;
        }
        mapping->letters_to.styles |= found;
        if (!found)
            problem_add(problems, options_place(mapping->settings, "dead_letter.headers"),
                        "dead_letter.headers: found \"%.40s\", expected kafka-connect, spring, "
                        "rabbitmq or cloudevents%s%s%s",
                        name, suggest.nearest ? "; did you mean \"" : "",
                        suggest.nearest ? suggest.nearest : "", suggest.nearest ? "\"?" : "");
    }
}

/* ---- the place ---- */

static bool can_be_place(const struct sluice_connector *connector, struct place place,
                         struct problems *problems)
{
    if (connector->open_publisher)
        return true;
    problem_add(problems, place,
                TO ": the connector %s cannot only publish, so it is no place for dead letters",
                connector->name);
    return false;
}

static bool is_list(const struct sluice_values *values, const char *name)
{
    const struct sluice_option *option = options_table(values);

    while (option->name && strcmp(option->name, name) != 0)
        option++;
    return option->name && option->type == SLUICE_LIST;
}

static const char *text_of(const struct sluice_values *values, const char *name)
{
    return options_known(values, name) && options_is_set(values, name) ? options_text(values, name)
                                                                      : NULL;
}

/* Of a queue that is given by URL the name is that of one beside it. */
static bool is_own_source(const struct mapping *mapping, const char *name)
{
    for (size_t i = 0; i < COUNT(queues); i++) {
        const char *queue = text_of(mapping->values, queues[i]);
        const char *end = queue ? strrchr(queue, '/') : NULL;

        if (queue && (strcmp(queue, name) == 0 || (end && strcmp(end + 1, name) == 0)))
            return true;
    }
    for (size_t i = 0; i < LISTS; i++) {
        if (!is_list(mapping->values, names[i]))
            continue;
        for (size_t j = 0; j < options_count(mapping->values, names[i]); j++)
            if (strcmp(options_item(mapping->values, names[i], j, NULL), name) == 0)
                return true;
    }
    return false;
}

/* The name of another topic or queue, with the source's own options. */
static void read_name(const struct mapping_context *context, struct mapping *mapping,
                      const struct node *node)
{
    struct letters_to *to = &mapping->letters_to;

    if (!mapping->connector || !can_be_place(mapping->connector, node->place, context->problems))
        return;
    if (node->reference != REFERENCE_NONE || !*node->text)
        problem_add(context->problems, node->place,
                    TO ": found %s, expected the name of a topic or queue, or a connector and its "
                       "options, as kafka: { brokers: ..., topic: ... }",
                    option_value_found(node));
    else if (is_own_source(mapping, node->text))
        problem_add(context->problems, node->place,
                    TO ": found %.200s, which the mapping takes its messages from: they would come "
                       "again and again; name another",
                    node->text);
    else {
        to->connector = mapping->connector;
        to->values = mapping->values;
        to->is_source = true;
        to->name = memory_text(node->text);
        to->text = memory_format("%s %s", mapping->connector->name, node->text);
    }
}

/* `kafka letters`, by the option that names the place. */
static char *describe(const struct letters_to *to)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buffer text;
        char *copy;

        if (!options_known(to->values, names[i]) || !options_is_set(to->values, names[i]))
            continue;
        buffer_init(&text, 4096);
        buffer_format(&text, "%s ", to->connector->name);
        options_print(to->values, names[i], &text);
        copy = memory_text(buffer_text(&text));
        buffer_fini(&text);
        return copy;
    }
    return memory_text(to->connector->name);
}

static bool same_option(const struct mapping *mapping, const struct letters_to *to, const char *name)
{
    struct buffer here, there;
    bool same;

    buffer_init(&here, 1 << 16);
    buffer_init(&there, 1 << 16);
    options_print(mapping->values, name, &here);
    options_print(to->values, name, &there);
    same = here.size == there.size && (!here.size || !memcmp(here.data, there.data, here.size));
    buffer_fini(&here);
    buffer_fini(&there);
    return same;
}

/* Its own topic or queue, at its own servers. Where no option names it nobody knows. */
static bool is_same_source(const struct mapping *mapping, const struct letters_to *to)
{
    if (to->connector != mapping->connector || !mapping->values)
        return false;
    for (const struct sluice_option *option = to->connector->options; option->name; option++)
        if (option->flags & SLUICE_OPTION_SERVERS && !same_option(mapping, to, option->name))
            return false;
    for (size_t i = 0; i < COUNT(within); i++)
        if (options_known(to->values, within[i]) && !same_option(mapping, to, within[i]))
            return false;
    for (size_t i = 0; i < LISTS; i++)
        if (is_list(to->values, names[i]) && options_count(to->values, names[i]) &&
            is_own_source(mapping, options_item(to->values, names[i], 0, NULL)))
            return true;
    for (size_t i = 0; i < COUNT(queues); i++)
        if (text_of(to->values, queues[i]) && same_option(mapping, to, queues[i]))
            return true;
    return false;
}

static void read_options(const struct mapping_context *context, struct mapping *mapping,
                         const struct node_entry *entry)
{
    struct letters_to *to = &mapping->letters_to;
    size_t before = context->problems->errors;
    const struct plugin *plugin;
    struct fault fault;
    char *prefix;

    plugin = plugin_load(entry->name, context->connector_directory, &fault);
    if (!plugin) {
        problem_add(context->problems, entry->place, TO ".%.63s: %s", entry->name, fault.text);
        return;
    }
    if (!can_be_place(&plugin->connector, entry->place, context->problems))
        return;
    prefix = memory_format(TO ".%s", plugin->name);
    to->connector = &plugin->connector;
    to->values = options_read_place(plugin->connector.options, prefix, entry->value, entry->place,
                                    context->problems);
    free(prefix);
    to->text = describe(to);
    if (context->problems->errors == before)
        trial_open_place(to->connector, to->values, entry->place, context->problems);
    if (context->problems->errors == before && is_same_source(mapping, to))
        problem_add(context->problems, entry->place,
                    TO ".%.63s: is what the mapping takes its messages from: they would come again "
                       "and again; name another",
                    entry->name);
}

/* The story of a letter is in headers, unless the payload has it. */
static void check_headers(const struct mapping_context *context, const struct mapping *mapping,
                          struct place place)
{
    const struct letters_to *to = &mapping->letters_to;
    const struct sluice_values *settings = mapping->settings;

    if (!to->connector || !(mapping_capabilities(to->connector, to->values) & SLUICE_LACKS_HEADERS))
        return;
    if (to->format == LETTER_MESSAGE)
        problem_warn(context->problems,
                     options_is_written(settings, "dead_letter.format")
                         ? options_place(settings, "dead_letter.format")
                         : place,
                     TO ": messages have no headers there, so why each died and where it came from would "
                        "be lost: set dead_letter.format: aws, which tells it in the payload");
    if (to->styles)
        problem_warn(context->problems, options_place(settings, "dead_letter.headers"),
                     "dead_letter.headers: has no effect, as messages have no headers at " TO);
}

void config_letters_read(const struct mapping_context *context, struct mapping *mapping)
{
    static const char *const others[] = {"dead_letter.headers", "dead_letter.format"};
    const struct sluice_values *settings = mapping->settings;
    const struct node *node = options_node(settings, TO);
    size_t before = context->problems->errors;

    mapping->letters_to.format = (enum letter_format)options_choice(settings, "dead_letter.format");
    read_styles(mapping, context->problems);
    if (!node || node->kind == NODE_NULL) {
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            if (options_is_written(settings, others[i]))
                problem_warn(context->problems, options_place(settings, others[i]),
                             "%s: has no effect without dead_letter.to", others[i]);
        return;
    }
    if (options_choice(settings, "receive") == 1)
        problem_add(context->problems, node->place,
                    TO ": has no place with receive: dead_letters, which collects them in the state "
                       "directory; take it out");
    if (node->kind == NODE_TEXT)
        read_name(context, mapping, node);
    else if (node->kind == NODE_MAP && node->count == 1)
        read_options(context, mapping, &node->entries[0]);
    else
        problem_add(context->problems, node->place,
                    TO ": found %s, expected the name of one connector and its options, as "
                       "kafka: { brokers: ..., topic: ... }, or the name of a topic or queue at the "
                       "source's own server",
                    node->kind == NODE_MAP ? "not one entry" : option_value_found(node));
    if (context->problems->errors == before)
        check_headers(context, mapping, node->place);
}
