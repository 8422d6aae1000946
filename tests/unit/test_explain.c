/* SPDX-License-Identifier: MIT
 * The explanation in sentences is computed from a mapping's own values. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "service/config.h"
#include "service/explain.h"

/* The explanation of a mapping with these lines besides source and URL, as one line of words:
 * memory of the caller's. */
static char *explain(const char *lines)
{
    const struct overrides overrides = {.connector_directory = TEST_PLUGINS};
    const char *path = "orders.yaml";
    struct problems problems = {0};
    struct configuration *configuration;
    struct buffer text;
    FILE *file = fopen(path, "w");
    char *words, *from, *to;

    fprintf(file,
            "source: {fake: {brokers: [b:1], topic: t, group: g, sasl: {password: hunter2}}}\n%s",
            lines);
    if (!strstr(lines, "target:"))
        fputs("target: {http: {url: \"http://localhost/f\"}}\n", file);
    fclose(file);
    configuration = configuration_load(&path, 1, &overrides, &problems);
    if (!configuration)
        fail_msg("%s: %s", problems.items[0].place, problems.items[0].text);
    buffer_init(&text, 1 << 16);
    explain_mapping(configuration->mappings[0], &text);
    words = memory_text(buffer_text(&text));
    for (from = to = words; *from; from++)
        if (*from != ' ' && *from != '\n')
            *to++ = *from;
        else if (to > words && to[-1] != ' ')
            *to++ = ' ';
    *to = '\0';
    buffer_fini(&text);
    problem_free_all(&problems);
    configuration_free(configuration);
    return words;
}

static void test_sentences(void **state)
{
    static const char *const table[][2] = {
        {"", "orders (orders.yaml, revision "},
        {"", "Messages come from fake (brokers b:1, topic t, group g, sasl.password (secret)), "
             "received by 1 poller."},
        {"pollers: 3\n", "received by 3 pollers."},
        {"",
         "Each batch is one POST to http://localhost/f, with a list of records in JSON as body."},
        {"target: {http: {url: \"http://h/\"}, format: raw}\n",
         "with the payload of one message as body."},
        {"target: {http: {url: \"http://h/\"}, format: raw}\n",
         "Every message is invoked by itself."},
        {"target: {http: {url: \"http://h/\", concurrency: 7}}\n",
         "At most 7 are in flight for each poller."},
        {"", "Between 1 and 32 are in flight for each poller"},
        {"", "An invocation may take 30s, 5s of that to connect."},
        {"batch: {size: 10, bytes: 2 MiB, window: 3s}\n",
         "A batch closes at 10 messages, at 2 MiB, or 3s after its oldest message came"},
        {"batch: {window: 0}\n",
         "A batch takes what is there, up to 100 messages or 1 MiB, and does not wait."},
        {"", "The messages of a lane are invoked in order"},
        {"order: key\n", "Messages with the same key are invoked in order"},
        {"order: none\n", "No order is kept"},
        {"", "If the function is down (no connection, 429, 503), no attempt is counted"},
        {"", "an outage of any length makes no dead letters."},
        {"retry: {probe: 10s..3m}\n",
         "which probes the function again after 10s, then after growing pauses of up to 3m."},
        {"retry: {age: 2h}\n",
         "Messages that wait longer than retry.age (2h) become dead letters."},
        {"retry: {attempts: 1}\n", "A message that fails is tried 1 time, after"},
        {"retry: {attempts: 4, backoff: 1s..9s}\n",
         "A message that fails is tried 4 times, after pauses that grow from 1s to 9s."},
        {"", "A failing batch is tried again in halves"},
        {"", "if none comes within 2m, it is given up all the same."},
        {"retry: {patience: 0}\n", "Then it is given up, whether or not the function works"},
        {"", "is kept as a dead letter for 30d: see `sluice dlq ls orders`."},
        {"dead_letter: {keep: 0}\n", "is kept as a dead letter for ever: see"},
        {"", "A message is named by its position at the source"},
        {"idempotency: {token: key, ttl: 5m}\n",
         "A message is named by its key: another with the same within 5m of the first"},
        {"idempotency: {token: \"header:id\", on_missing: position}\n",
         "A message without it is named by its position."},
        {"idempotency: {token: /a/b, on_conflict: drop}\n",
         "With another payload under the same name it is dropped."},
        {"idempotency: {token: hash}\n", "named by the hash of its payload"},
        {"buffer: {messages: 777, bytes: 5 MiB, distance: 888}\n",
         "For each poller at most 777 messages or 5 MiB are received and neither done nor given "
         "up"},
        {"buffer: {distance: 888}\n",
         "A lane waits when its newest message is 888 ahead of its oldest unfinished one."},
        {"target: {http: {url: \"http://h/\", timeout: 45s}}\n",
         "A stop waits up to 45s for invocations in flight."},
    };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *words = explain(table[i][0]);

        if (!strstr(words, table[i][1]))
            fail_msg("%s: expected \"%s\" in: %s", table[i][0], table[i][1], words);
        assert_null(strstr(words, "hunter2"));
        free(words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
