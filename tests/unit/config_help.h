/* SPDX-License-Identifier: MIT
 * A good mapping file, and what tests of configurations do with it in the directory where they run. */
#ifndef CONFIG_HELP_H
#define CONFIG_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <sluice/connector.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service/config.h"

#define UNUSED __attribute__((unused))

static const char good[] = "source:\n"                                                /*  1 */
                           "  fake:\n"                                                /*  2 */
                           "    brokers: kafka-1:9092,kafka-2:9092\n"                 /*  3 */
                           "    topic: orders\n"                                      /*  4 */
                           "    group: sluice-orders\n"                               /*  5 */
                           "batch: { size: 50, bytes: 512 KiB, window: 100ms }\n"     /*  6 */
                           "order: key\n"                                             /*  7 */
                           "idempotency: { token: /order/id, ttl: 12h }\n"            /*  8 */
                           "target:\n"                                                /*  9 */
                           "  http: { url: \"https://functions.internal/orders\" }\n" /* 10 */
                           "  format: json\n"                                         /* 11 */
                           "retry: { attempts: 3, backoff: 1s..10s, age: 6h }\n"      /* 12 */
                           "dead_letter: { store: local, keep: 7d }\n";               /* 13 */

static const struct overrides overrides = {.connector_directory = TEST_PLUGINS};

UNUSED static void write_file(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

UNUSED static void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

/* `text` with the first `found` replaced: memory of the caller's. */
UNUSED static char *replace(const char *text, const char *found, const char *put)
{
    const char *at = strstr(text, found);

    if (!at)
        fail_msg("\"%s\" is not in the text", found);
    return memory_format("%.*s%s%s", (int)(at - text), text, put, at + strlen(found));
}

UNUSED static struct configuration *load(const char *path, struct problems *problems)
{
    *problems = (struct problems){0};
    return configuration_load(&path, 1, &overrides, problems);
}

UNUSED static char *print_problems(const struct problems *problems)
{
    char *text = memory_text("");
    size_t i;

    for (i = 0; i < problems->count; i++) {
        char *longer =
            memory_format("%s%s%s: %s\n", text, problems->items[i].warning ? "warning: " : "",
                          problems->items[i].place, problems->items[i].text);

        free(text);
        text = longer;
    }
    return text;
}

/* Loads `path` and expects exactly these lines of problems; whether it loaded goes with them. */
UNUSED static void expect(const char *what, const char *path, const char *lines)
{
    struct problems problems;
    struct configuration *configuration = load(path, &problems);
    char *text = print_problems(&problems);

    if (strcmp(text, lines) != 0)
        fail_msg("%s: found\n%sexpected\n%s", what, text, lines);
    assert_int_equal(configuration == NULL, problems.errors > 0);
    free(text);
    problem_free_all(&problems);
    configuration_free(configuration);
}

/* Loads a good configuration, without warnings. */
UNUSED static struct configuration *load_good(const char *path)
{
    struct problems problems;
    struct configuration *configuration = load(path, &problems);

    if (!configuration || problems.count)
        fail_msg("%s", print_problems(&problems));
    problem_free_all(&problems);
    return configuration;
}

UNUSED static struct configuration *load_changed(const char *found, const char *put)
{
    char *text = replace(good, found, put);

    write_text("orders.yaml", text);
    free(text);
    return load_good("orders.yaml");
}

UNUSED static void make_service(const char *text)
{
    assert_int_equal(system("rm -rf etc && mkdir -p etc/mappings.d"), 0);
    write_text("etc/sluice.yaml", text);
    write_text("etc/mappings.d/orders.yaml", good);
}

#endif
