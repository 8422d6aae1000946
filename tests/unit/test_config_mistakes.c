/* SPDX-License-Identifier: MIT
 * Mapping files and sluice.yaml: the exact message about each mistake. */
#define _GNU_SOURCE
#include "config_help.h"
#include "config_mistakes.h"

static void test_mistakes(void **state)
{
    size_t i;

    setenv("TEST_ORDER", "keyy", 1);
    for (i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        const struct mistake *mistake = &mistakes[i];
        char *text = replace(good, mistake->found, mistake->put);

        write_text("orders.yaml", text);
        expect(mistake->put, "orders.yaml", mistake->lines);
        free(text);
    }
}

static void test_files_that_are_no_mappings(void **state)
{
    size_t i;

    for (i = 0; i < sizeof rubbish / sizeof rubbish[0]; i++) {
        write_file("orders.yaml", rubbish[i].text, rubbish[i].size);
        expect(rubbish[i].lines, "orders.yaml", rubbish[i].lines);
    }
}

static void test_service_mistakes(void **state)
{
    size_t i;

    for (i = 0; i < sizeof service_mistakes / sizeof service_mistakes[0]; i++) {
        make_service(service_mistakes[i][0]);
        expect(service_mistakes[i][0], "etc", service_mistakes[i][1]);
    }
}

static void test_all_mistakes_at_once(void **state)
{
    char *one = replace(good, "order: key", "order: kei");
    char *two = replace(one, "size: 50", "size: 0");
    char *three = replace(two, "topic: orders", "topci: orders");
    char *four = replace(three, "attempts: 3", "attemps: 3");

    write_text("orders.yaml", four);
    expect("four", "orders.yaml",
           "orders.yaml:4:5: source.fake.topci: no such key; did you mean \"topic\"?\n"
           "orders.yaml:6:16: batch.size: found \"0\", expected a whole number from 1 to 10000\n"
           "orders.yaml:7:8: order: found \"kei\", expected lane, key or none\n"
           "orders.yaml:12:10: retry.attemps: no such key; did you mean \"attempts\"?\n");
    free(one);
    free(two);
    free(three);
    free(four);
}

/* However a file is named, the same sluice.yaml is found, and named without detours. */
static void test_ways_to_name_a_file(void **state)
{
    static const char *const paths[][2] = {
        {"etc/mappings.d/orders.yaml", "etc/sluice.yaml"},
        {"etc/mappings.d/", "etc/sluice.yaml"},
        {"etc//", "etc/sluice.yaml"},
        {"./etc/mappings.d/../mappings.d/orders.yaml", "./etc/mappings.d/../sluice.yaml"},
    };
    const char *both[] = {"etc", "etc/mappings.d/orders.yaml"};
    struct problems problems = {0};
    struct configuration *configuration;
    size_t i;

    make_service("log: loud\n");
    for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *lines = memory_format(
            "%s:1:6: log: found \"loud\", expected a map of level, format\n", paths[i][1]);

        expect(paths[i][0], paths[i][0], lines);
        free(lines);
    }
    make_service("listen: localhost:1\n");
    configuration = configuration_load(both, 2, &overrides, &problems);
    assert_non_null(configuration);
    assert_int_equal(configuration->mapping_count, 1);
    configuration_free(configuration);
    assert_int_equal(chdir("etc/mappings.d"), 0);
    configuration = load_good("orders.yaml");
    configuration_free(configuration);
    configuration = load_good(".");
    configuration_free(configuration);
    assert_int_equal(chdir("../.."), 0);
}

static void test_mistake_in_the_defaults_is_told_once(void **state)
{
    make_service("defaults:\n  retry: { attempts: none }\n");
    write_text("etc/mappings.d/two.yaml", "source: {fake: {brokers: [x], topic: t, group: g}}\n"
                                          "target: {http: {url: \"http://localhost/\"}}\n");
    write_text("etc/mappings.d/one.yaml", "source: {fake: {brokers: [y], topic: t, group: g}}\n"
                                          "target: {http: {url: \"http://localhost/\"}}\n");
    expect(
        "defaults", "etc",
        "etc/sluice.yaml:2:22: retry.attempts: found \"none\", expected a whole number from 1 to "
        "10000\n");
}

static void test_conflicts(void **state)
{
    make_service("listen: localhost:1\n");
    write_text("etc/mappings.d/second.yaml",
               "source: {fake: {brokers: [kafka-2:9092], topic: orders, group: sluice-orders}}\n"
               "target: {http: {url: \"http://localhost/\"}}\n");
    write_text("etc/mappings.d/third.yaml", /* another topic: fine */
               "source: {fake: {brokers: [kafka-2:9092], topic: bills, group: sluice-orders}}\n"
               "target: {http: {url: \"http://localhost/\"}}\n");
    write_text("etc/mappings.d/fourth.yaml", /* another cluster: fine */
               "source: {fake: {brokers: [kafka-3:9092], topic: orders, group: sluice-orders}}\n"
               "target: {http: {url: \"http://localhost/\"}}\n");
    expect(
        "group", "etc",
        "etc/mappings.d/second.yaml:1:64: source.fake.group: mapping orders takes messages of the "
        "same topic by the same group (fake kafka-2:9092 orders sluice-orders), so each would "
        "get only a part of them; give each a group of its own\n");
    make_service("listen: localhost:1\n");
    write_text("etc/mappings.d/orders.json",
               "{source: {fake: {brokers: [x], topic: t, group: g}}, target: {http: {url: "
               "\"http://localhost/\"}}}");
    expect("name", "etc",
           "etc/mappings.d/orders.yaml: etc/mappings.d/orders.json is a mapping of the same name; "
           "rename one of them\n");
}

static void test_file_names(void **state)
{
    static const char *const table[][2] = {
        {"Orders.yaml", "\"Orders\" is none"},
        {"-orders.yaml", "\"-orders\" is none"},
        {"or ders.yaml", "\"or ders\" is none"},
        {"orders.v2.yaml", "\"orders.v2\" is none"},
        {"a2345678901234567890123456789012345678901234567890123456789012345.yaml", "at most 63"},
    };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct problems problems;

        write_text(table[i][0], good);
        assert_null(load(table[i][0], &problems));
        assert_int_equal(problems.count, 1);
        assert_string_equal(problems.items[0].place, table[i][0]);
        assert_non_null(strstr(problems.items[0].text, table[i][1]));
        problem_free_all(&problems);
        unlink(table[i][0]);
    }
}

static void test_other_files(void **state)
{
    make_service("listen: localhost:1\n");
    write_text("etc/mappings.d/orders.yaml.bak", "x");
    write_text("etc/mappings.d/.orders.yaml.swp", "x");
    write_text("etc/mappings.d/README", "x");
    expect("other", "etc",
           "warning: etc/mappings.d/orders.yaml.bak: not read, as its name does not end in .yaml, "
           ".yml or .json\n");
}

static void test_files_that_others_can_write(void **state)
{
    char *here, *lines;

    make_service("listen: localhost:1\n");
    chmod("etc/mappings.d/orders.yaml", 0646);
    expect("file", "etc",
           "etc/mappings.d/orders.yaml: the file etc/mappings.d/orders.yaml can be written by "
           "everybody; run chmod o-w etc/mappings.d/orders.yaml\n");
    chmod("etc/mappings.d/orders.yaml", 0644);
    chmod("etc/mappings.d", 0777);
    here = getcwd(NULL, 0);
    lines = memory_format("etc/mappings.d/orders.yaml: the file's directory %s/etc/mappings.d can be "
                          "written by everybody; run chmod o-w %s/etc/mappings.d\n",
                          here, here);
    expect("directory", "etc", lines);
    free(lines);
    free(here);
    chmod("etc/mappings.d", 01777);
    expect("sticky", "etc", "");
    chmod("etc/mappings.d", 0755);
}

static void test_paths_that_are_not_there(void **state)
{
    assert_int_equal(system("rm -rf etc && mkdir -p etc/mappings.d"), 0);
    expect("missing", "nowhere",
           "nowhere: No such file or directory; expected a directory with "
           "sluice.yaml or mapping files\n");
    expect("empty", "etc",
           "etc/mappings.d: no mapping in here; put a file such as orders.yaml into it\n");
    write_text("etc/sluice.yaml", "listen: localhost:1\n");
    expect("empty", "etc",
           "etc/mappings.d: no mapping in here; put a file such as orders.yaml into it\n");
    assert_int_equal(system("rmdir etc/mappings.d"), 0);
    expect("no directory", "etc", "etc/mappings.d: cannot be read: No such file or directory\n");
}

/* ---- rubbish ---- */

static uint32_t random_state = 2463534242;

static uint32_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void try_rubbish(const char *text, size_t size)
{
    struct problems problems;

    write_file("orders.yaml", text, size);
    configuration_free(load("orders.yaml", &problems));
    problem_free_all(&problems);
}

/* Bytes without sense, and good text with some bytes changed: neither may crash. */
static void test_random_bytes(void **state)
{
    static const char alphabet[] = " \n\t:{}[]&*!'\"|>-#%@`~?,.0aeo\\\xc3\xff";
    char text[sizeof good];
    int round;
    size_t i;

    for (round = 0; round < 400; round++) {
        size_t size = random_number() % sizeof text;

        for (i = 0; i < size; i++)
            text[i] = round % 2 ? (char)random_number()
                                : alphabet[random_number() % (sizeof alphabet - 1)];
        try_rubbish(text, size);
    }
    for (round = 0; round < 1500; round++) {
        memcpy(text, good, sizeof good);
        for (i = 0; i < 1 + random_number() % 4; i++)
            text[random_number() % (sizeof good - 1)] =
                alphabet[random_number() % (sizeof alphabet - 1)];
        try_rubbish(text, sizeof good - 1);
    }
}

static void test_every_prefix(void **state)
{
    size_t size;

    for (size = 0; size < sizeof good; size++)
        try_rubbish(good, size);
}

int main(void)
{
    /* Tests write into the directory where they run. */
    if (access("Makefile", F_OK) == 0) {
        fputs("run this by tests/run_programs, which gives it a directory\n", stderr);
        return 64;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_files_that_are_no_mappings),
        cmocka_unit_test(test_service_mistakes),
        cmocka_unit_test(test_all_mistakes_at_once),
        cmocka_unit_test(test_ways_to_name_a_file),
        cmocka_unit_test(test_mistake_in_the_defaults_is_told_once),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_file_names),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_files_that_others_can_write),
        cmocka_unit_test(test_paths_that_are_not_there),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_every_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
