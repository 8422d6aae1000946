/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
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

#include "io/plugin.h"

static void refused(const char *name, const char *directory, const char *words)
{
    struct fault fault = {""};

    if (plugin_load(name, directory, &fault))
        fail_msg("%s was loaded, expected: %s", name, words);
    if (!strstr(fault.text, words))
        fail_msg("%s: found \"%s\", expected \"%s\" in it", name, fault.text, words);
}

static void accepted(const char *name, const char *directory)
{
    struct fault fault = {""};

    if (!plugin_load(name, directory, &fault))
        fail_msg("%s was refused: %s", name, fault.text);
}

static void copy_plugin(const char *to)
{
    char command[600];

    snprintf(command, sizeof command, "mkdir -p \"$(dirname %s)\" && cp %s/sluice-fake.so %s", to,
             TEST_PLUGINS, to);
    assert_int_equal(system(command), 0);
}

static void test_load(void **state)
{
    struct fault fault;
    const struct plugin *plugin = plugin_load("fake", TEST_PLUGINS, &fault);

    assert_non_null(plugin);
    assert_string_equal(plugin->name, "fake");
    assert_string_equal(plugin->connector.version, "1.2.3");
    assert_non_null(strstr(plugin->path, "/sluice-fake.so"));
    assert_ptr_equal(plugin, plugin_load("fake", TEST_PLUGINS, &fault));
    assert_ptr_equal(plugin, plugin_load(TEST_PLUGINS "/sluice-fake.so", NULL, &fault));
}

static void test_operations_that_may_be_missing(void **state)
{
    struct fault fault;
    const struct plugin *plugin = plugin_load("fake", TEST_PLUGINS, &fault);
    struct sluice_lag lag = {7, 7};

    assert_int_equal(plugin->connector.headers(NULL, NULL, NULL, 0), 0);
    plugin->connector.lane_drained(NULL, NULL);
    plugin->connector.lag(NULL, NULL, &lag);
    assert_int_equal(lag.messages, -1);
    assert_int_equal(lag.oldest_ms, -1);
    assert_null(plugin->connector.publish);
}

static void test_other_sizes(void **state)
{
    struct fault fault;
    const struct plugin *newer = plugin_load("bad-minor", TEST_PLUGINS, &fault);
    const struct plugin *older = plugin_load("bad-old", TEST_PLUGINS, &fault);

    assert_non_null(newer);
    assert_int_equal(newer->connector.struct_size, sizeof(struct sluice_connector));
    assert_int_equal(newer->connector.abi_minor, 9);
    assert_non_null(newer->connector.check);
    assert_non_null(older);
    assert_null(older->connector.check);
}

static void test_refusals(void **state)
{
    static const char *const table[][2] = {
        {"bad-null", "sluice-bad-null.so cannot be used: sluice_connector() returned NULL"},
        {"bad-magic", "it begins with 00000001, expected 65636c73"},
        {"bad-major", "built for connector ABI 7.2, this sluice has 1.2; build it again"},
        {"bad-size", "its descriptor has 64 bytes, expected at least "},
        {"bad-text", "its name, version or description is missing"},
        {"bad-name", "it calls itself \"good\", but its file is sluice-bad-name.so"},
        {"bad-operation", "it has no operation `settle`, which it must have"},
        {"bad-publish", "it has no operation `publish`, which it must have by its capabilities"},
        {"bad-trace", "it has SLUICE_BROWSE_LEAVES_TRACE without SLUICE_CAN_BROWSE"},
        {"bad-table", "it has no table of options"},
        {"bad-option-name", "option 1 has the name \"the first\", expected a-z, 0-9, _ and dots"},
        {"bad-option-type", "option first has the type 77, expected 1 to 9"},
        {"bad-option-help", "option first has no help text"},
        {"bad-option-choice", "option second has no choices"},
        {"bad-option-range", "option first has a minimum above its maximum"},
        {"bad-option-default", "option first has the default \"11\", which it would not accept"},
        {"bad-option-twice", "options first and first collide"},
        {"bad-option-group", "options first and first.part collide"},
        {"nosymbol", "has no symbol sluice_connector, so it is no connector"},
        {"Fake", "\"Fake\" is no connector's name; those consist of a-z, 0-9 and -"},
        {"", "\"\" is no connector's name"},
        {"fkae", "; did you mean \"fake\"?"},
        {"rabbitmq", "no connector \"rabbitmq\" in " TEST_PLUGINS "; there is: bad-"},
        {"./no-such.so", "./no-such.so: a connector's file is called sluice-NAME.so"},
        {"./sluice-x.so", "./sluice-x.so: No such file or directory"},
    };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++)
        refused(table[i][0], TEST_PLUGINS, table[i][1]);
}

static void test_not_a_library(void **state)
{
    FILE *file;

    assert_int_equal(system("mkdir -p library"), 0);
    file = fopen("library/sluice-text.so", "w");
    fputs("I am no library\n", file);
    fclose(file);
    refused("text", "library", "sluice-text.so cannot be loaded: ");
    refused("kafka", "library", "no connector \"kafka\" in library; there is: text");
}

static void test_empty_directory(void **state)
{
    assert_int_equal(system("mkdir -p empty"), 0);
    refused("kafka", "empty", "no connector \"kafka\": no file sluice-kafka.so in empty");
    refused("kafka", "nowhere", "no connector \"kafka\": no file sluice-kafka.so in nowhere");
}

static void test_writable_by_others(void **state)
{
    copy_plugin("open/sluice-fake.so");
    chmod("open/sluice-fake.so", 0646);
    refused("fake", "open", "sluice-fake.so can be written by everybody; run chmod o-w ");
    chmod("open/sluice-fake.so", 0644);
    chmod("open", 0777);
    refused("fake", "open", "the connector's directory ");
    chmod("open", 0755);
    copy_plugin("above/below/sluice-fake.so");
    chmod("above", 0777);
    refused("fake", "above/below", "above can be written by everybody; run chmod o-w ");
    assert_int_equal(symlink("above/below", "link"), 0);
    refused("fake", "link", "above can be written by everybody; run chmod o-w ");
    chmod("above", 01777);
    accepted("fake", "link");
    chmod("above", 0755);
    accepted("fake", "above/below");
    if (geteuid() == 0) {
        assert_int_equal(chown("open/sluice-fake.so", 4242, 4242), 0);
        refused("fake", "open", "belongs to user 4242, who could change it under sluice");
        assert_int_equal(chown("open/sluice-fake.so", 0, 4242), 0);
        chmod("open/sluice-fake.so", 0664);
        refused("fake", "open", "can be written by group 4242; run chmod g-w ");
    }
}

static void test_search_order(void **state)
{
    struct fault fault;
    const struct plugin *plugin;
    char *places;

    copy_plugin("one/sluice-fake.so");
    copy_plugin("two/sluice-fake.so");
    setenv("SLUICE_CONNECTORS", "nowhere:one:two", 1);
    plugin = plugin_load("fake", NULL, &fault);
    assert_non_null(plugin);
    assert_non_null(strstr(plugin->path, "/one/"));
    plugin = plugin_load("fake", "two", &fault); /* an explicit directory is the only one */
    assert_non_null(strstr(plugin->path, "/two/"));
    places = plugin_places(NULL);
    assert_non_null(strstr(places, "nowhere, one, two"));
    assert_non_null(strstr(places, " and " SLUICE_CONNECTOR_DIRECTORY));
    free(places);
    unsetenv("SLUICE_CONNECTORS");
}

static void test_list(void **state)
{
    struct plugin_found *list;
    size_t count = plugin_list(TEST_PLUGINS, &list), i, good = 0;

    assert_true(count > 20);
    for (i = 0; i < count; i++) {
        if (i)
            assert_true(strcmp(list[i - 1].name, list[i].name) < 0);
        if (list[i].plugin)
            good++;
        else
            assert_non_null(strstr(list[i].fault.text, list[i].name));
    }
    assert_int_equal(good, 5);
    plugin_free_list(list, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_operations_that_may_be_missing),
        cmocka_unit_test(test_other_sizes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_not_a_library),
        cmocka_unit_test(test_empty_directory),
        cmocka_unit_test(test_writable_by_others),
        cmocka_unit_test(test_search_order),
        cmocka_unit_test(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
