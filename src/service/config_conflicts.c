/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/config_conflicts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sluice/connector.h>

#include "base/buffer.h"
#include "service/options.h"

/* The words of an option: memory of the caller's, NULL where it is unset. */
static char *words_of(const struct sluice_values *values, const char *name)
{
    struct buffer text;

    buffer_init(&text, 64 * 1024);
    options_print(values, name, &text);
    buffer_text(&text); /* ends it with a NUL */
    return text.data;
}

/* Whether two lists of words, with commas and spaces between, have one in common. */
static bool shares_word(const char *one, const char *other)
{
    static const char *const separators = ", ";
    const char *rest;

    for (; *one; one += strcspn(one, separators)) {
        size_t size;

        one += strspn(one, separators);
        size = strcspn(one, separators);
        for (rest = other; size && *rest; rest += strcspn(rest, separators)) {
            rest += strspn(rest, separators);
            if (strcspn(rest, separators) == size && strncasecmp(one, rest, size) == 0)
                return true;
        }
    }
    return false;
}

/* Whether both have the option and have a word of it in common; an option that the connector does
 * not know does not tell them apart. */
static bool shares_option(const struct mapping *a, const struct mapping *b, const char *name)
{
    char *one, *other;
    bool shares;

    if (!options_known(a->values, name))
        return true;
    one = words_of(a->values, name);
    other = words_of(b->values, name);
    shares = one && other && shares_word(one, other);
    free(one);
    free(other);
    return shares;
}

static bool shares_group(const struct mapping *a, const struct mapping *b)
{
    char *one, *other;
    bool same;

    if (!a->source_group || !b->source_group || a->connector != b->connector)
        return false;
    one = words_of(a->values, "group");
    other = words_of(b->values, "group");
    same = one && other && strcmp(one, other) == 0;
    free(one);
    free(other);
    return same && shares_option(a, b, "brokers") && shares_option(a, b, "topic");
}

void config_conflicts_check(const struct configuration *configuration, struct problems *problems)
{
    size_t i, j;

    for (i = 0; i < configuration->mapping_count; i++)
        for (j = 0; j < i; j++) {
            const struct mapping *one = configuration->mappings[j];
            const struct mapping *other = configuration->mappings[i];

            if (strcmp(one->name, other->name) == 0)
                problem_add(problems, (struct place){other->file, 0, 0},
                            "%s is a mapping of the same name; rename one of them", one->file);
            else if (shares_group(one, other))
                problem_add(problems, options_place(other->values, "group"),
                            "source.%s.group: mapping %s takes messages of the same topic by the "
                            "same group (%.200s), so each would get only a part of them; give each "
                            "a group of its own",
                            other->connector->name, one->name, other->source_group);
        }
}
