/* SPDX-License-Identifier: MIT
 * Typed options: what connectors read, and that manuals and tables say the same. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "service/config.h"
#include "service/config_tree.h"
#include "service/options.h"

static const char *const choices[] = {"one", "two", NULL};

static const struct sluice_option table[] = {
    {"text", SLUICE_STRING, 0, NULL, 0, 0, NULL, "A text."},
    {"number", SLUICE_INT, 0, "7", -10, 10, NULL, "A number."},
    {"flag", SLUICE_BOOL, 0, "true", 0, 0, NULL, "A flag."},
    {"size", SLUICE_BYTES, 0, "1 KiB", 0, 0, NULL, "A size."},
    {"time", SLUICE_DURATION, 0, "2s", 0, 0, NULL, "A time."},
    {"choice", SLUICE_ENUM, 0, "two", 0, 0, choices, "A choice."},
    {"group.secret", SLUICE_SECRET, 0, NULL, 0, 0, NULL, "A secret."},
    {"group.list", SLUICE_LIST, 0, NULL, 0, 0, NULL, "A list."},
    {"map", SLUICE_MAP, 0, NULL, 0, 0, NULL, "A map."},
    {0},
};

static const struct sluice_option uses[] = {
    {"both", SLUICE_STRING, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "For both."},
    {"taking", SLUICE_STRING, SLUICE_OPTION_REQUIRED | SLUICE_OPTION_CONSUME, NULL, 0, 0, NULL,
     "Only where messages are taken."},
    {"sending", SLUICE_STRING, SLUICE_OPTION_PUBLISH, NULL, 0, 0, NULL,
     "Only where they are published."},
    {"either", SLUICE_STRING,
     SLUICE_OPTION_REQUIRED | SLUICE_OPTION_CONSUME | SLUICE_OPTION_PUBLISH, NULL, 0, 0, NULL,
     "For both, required for one."},
    {0},
};

struct reading {
    struct config_pool *pool;
    struct problems problems;
    struct sluice_values *values;
};

static void begin(struct reading *reading, const char *text)
{
    const struct node *tree;

    reading->pool = config_pool_new();
    reading->problems = (struct problems){0};
    tree = config_tree_parse(reading->pool, "f", text, strlen(text), &reading->problems);
    reading->values = options_read(table, "p", tree, (struct place){"f", 1, 1}, &reading->problems);
}

static void end(struct reading *reading)
{
    options_free(reading->values);
    problem_free_all(&reading->problems);
    config_pool_free(reading->pool);
}

/* What of a table may and must stand where, as one line. */
static char *read_use(bool place, const char *text)
{
    static char found[1024];
    struct config_pool *pool = config_pool_new();
    struct problems problems = {0};
    const struct node *tree = config_tree_parse(pool, "f", text, strlen(text), &problems);
    struct sluice_values *values = (place ? options_read_place : options_read)(
        uses, "p", tree, (struct place){"f", 1, 1}, &problems);

    *found = '\0';
    for (size_t i = 0; i < problems.count; i++) {
        const char *problem = problems.items[i].text;

        snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s%s; ",
                 (int)strcspn(problem, ":"), problem,
                 strstr(problem, "missing")   ? " missing"
                 : strstr(problem, "take it") ? " out of place"
                                              : " otherwise");
    }
    options_free(values);
    problem_free_all(&problems);
    config_pool_free(pool);
    return found;
}

static void test_what_is_for_publishing_and_what_is_not(void **state)
{
    assert_string_equal(read_use(false, "{both: a, taking: b, either: c}"), "");
    assert_string_equal(read_use(true, "{both: a, sending: b}"), "");
    assert_string_equal(read_use(true, "{both: a, either: b}"), "");
    assert_string_equal(read_use(false, "{sending: a}"),
                        "p.sending out of place; p.both missing; p.taking missing; p.either missing; ");
    assert_string_equal(read_use(true, "{taking: a}"), "p.taking out of place; p.both missing; ");
}

static void test_defaults(void **state)
{
    struct reading reading;
    const struct sluice_values_api *api = &options_api;

    begin(&reading, "");
    assert_int_equal(reading.problems.count, 0);
    assert_false(api->is_set(reading.values, "text"));
    assert_null(api->text(reading.values, "text"));
    assert_true(api->is_set(reading.values, "number"));
    assert_int_equal(api->number(reading.values, "number"), 7);
    assert_int_equal(api->number(reading.values, "flag"), 1);
    assert_int_equal(api->number(reading.values, "size"), 1024);
    assert_int_equal(api->number(reading.values, "time"), 2000000);
    assert_string_equal(api->text(reading.values, "choice"), "two");
    assert_int_equal(options_choice(reading.values, "choice"), 1);
    assert_int_equal(api->count(reading.values, "group.list"), 0);
    assert_int_equal(api->count(reading.values, "map"), 0);
    assert_null(api->item(reading.values, "map", 0, NULL));
    end(&reading);
}

static void test_values(void **state)
{
    struct reading reading;
    const struct sluice_values_api *api = &options_api;
    const char *value;

    begin(&reading, "text: no\nnumber: -10\nflag: FALSE\nsize: 2 MB\ntime: 1.5s\nchoice: one\n"
                    "group: { list: [a, 'b, c', 3] }\n"
                    "map: { a.b.c: true, x: '' }\n");
    assert_int_equal(reading.problems.count, 0);
    assert_string_equal(api->text(reading.values, "text"), "no");
    assert_int_equal(api->number(reading.values, "number"), -10);
    assert_int_equal(api->number(reading.values, "flag"), 0);
    assert_int_equal(api->number(reading.values, "size"), 2000000);
    assert_int_equal(api->number(reading.values, "time"), 1500000);
    assert_int_equal(api->count(reading.values, "group.list"), 3);
    assert_string_equal(api->item(reading.values, "group.list", 1, &value), "b, c");
    assert_null(value);
    assert_string_equal(api->item(reading.values, "group.list", 2, NULL), "3");
    assert_null(api->item(reading.values, "group.list", 3, NULL));
    assert_int_equal(api->count(reading.values, "map"), 2);
    assert_string_equal(api->item(reading.values, "map", 0, &value), "a.b.c");
    assert_string_equal(value, "true");
    assert_string_equal(api->item(reading.values, "map", 1, &value), "x");
    assert_string_equal(value, "");
    end(&reading);
}

static void test_null_means_unset(void **state)
{
    struct reading reading;

    begin(&reading, "text: ~\nnumber: null\ngroup:\nmap: { a: ~ }\n");
    assert_int_equal(reading.problems.count, 0);
    assert_false(options_is_set(reading.values, "text"));
    assert_int_equal(options_number(reading.values, "number"), 7);
    assert_int_equal(options_count(reading.values, "map"), 0);
    end(&reading);
}

static void test_one_text_is_a_list_of_one(void **state)
{
    struct reading reading;

    begin(&reading, "group: { list: alone }\n");
    assert_int_equal(options_count(reading.values, "group.list"), 1);
    assert_string_equal(options_item(reading.values, "group.list", 0, NULL), "alone");
    end(&reading);
}

static void test_a_mistake_leaves_the_default(void **state)
{
    struct reading reading;

    begin(&reading, "number: 11\nchoice: three\ngroup: { list: [[a]] }\n");
    assert_int_equal(reading.problems.errors, 3);
    assert_string_equal(reading.problems.items[0].place, "f:1:9");
    assert_string_equal(reading.problems.items[0].text,
                        "p.number: found \"11\", expected a whole number from -10 to 10");
    assert_true(options_is_wrong(reading.values, "number"));
    assert_int_equal(options_number(reading.values, "number"), 7);
    assert_string_equal(options_text(reading.values, "choice"), "two");
    assert_int_equal(options_count(reading.values, "group.list"), 0);
    end(&reading);
}

static void test_refusals(void **state)
{
    struct reading reading;
    struct problems *problems = &reading.problems;

    begin(&reading, "number: 3\nmap: { a.b: 1, c: 2 }\n");
    options_api.refuse(reading.values, "number", "nobody listens");
    assert_int_equal(options_collect(problems), 1);
    options_api.refuse(reading.values, "number", "is odd");
    options_api.refuse(reading.values, "map.a.b", "is unknown");
    options_api.refuse(reading.values, "map.z", "is not there");
    options_api.refuse(reading.values, "text", "is missing");
    options_api.refuse(reading.values, "group", "is odd too");
    assert_int_equal(options_collect(NULL), 5);
    assert_int_equal(problems->count, 5);
    assert_string_equal(problems->items[0].place, "f:1:9");
    assert_string_equal(problems->items[0].text, "p.number: is odd");
    assert_string_equal(problems->items[1].place, "f:2:8");
    assert_string_equal(problems->items[1].text, "p.map.a.b: is unknown");
    assert_string_equal(problems->items[2].place, "f:2:6");
    assert_string_equal(problems->items[3].place, "f:1:1");
    assert_string_equal(problems->items[4].place, "f:1:1");
    end(&reading);
}

static void test_print(void **state)
{
    struct reading reading;
    struct buffer text;

    setenv("TEST_MAP", "hidden", 1);
    begin(&reading, "group: { secret: !env TEST_MAP, list: [a, b] }\nmap: { x: !env TEST_MAP, y: 1 "
                    "}\ntime: 90s\n");
    buffer_init(&text, 4096);
    options_print_all(reading.values, &text);
    assert_string_equal(buffer_text(&text),
                        "p.number=7\np.flag=true\np.size=1 KiB\np.time=90s\np.choice=two\n"
                        "p.group.list=a, b\np.map=x: (secret), y: 1\n");
    buffer_reset(&text);
    options_print(reading.values, "group.secret", &text);
    assert_string_equal(buffer_text(&text), "(secret)");
    buffer_fini(&text);
    end(&reading);
}

/* Whether `ask` ends the process by a signal, as a mistake in the program does. */
static bool aborts(void (*ask)(const struct sluice_values *values),
                   const struct sluice_values *values)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        fclose(stderr);
        signal(SIGABRT, SIG_DFL);
        ask(values);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void ask_unknown(const struct sluice_values *values)
{
    options_api.text(values, "nothing");
}

static void ask_wrong_type(const struct sluice_values *values)
{
    options_api.number(values, "text");
}

static void test_mistakes_of_a_connector_abort(void **state)
{
    struct reading reading;

    begin(&reading, "");
    assert_true(aborts(ask_unknown, reading.values));
    assert_true(aborts(ask_wrong_type, reading.values));
    end(&reading);
}

/* ---- our own tables ---- */

static void check_table(const struct sluice_option *option)
{
    struct problems problems = {0};
    struct sluice_values *values = options_read(option, NULL, NULL, (struct place){0}, &problems);
    size_t i;

    for (i = 0; i < problems.count; i++) /* required ones are missing; no default may be wrong */
        assert_non_null(strstr(problems.items[i].text, ": missing. "));
    for (; option->name; option++) {
        size_t size = strlen(option->help);

        assert_true(size > 10 && option->help[size - 1] == '.');
        assert_true(option->help[0] >= 'A' && option->help[0] <= 'Z');
    }
    options_free(values);
    problem_free_all(&problems);
}

static void test_our_tables(void **state)
{
    check_table(mapping_table);
    check_table(service_table);
}

/* The words of a manual page, its macros and line breaks taken out. */
static char *read_manual(const char *name)
{
    char *command = memory_format("mandoc -T ascii %s/src/%s | col -bx | tr -s ' \\n' "
                                  "' '",
                                  TEST_SOURCE, name);
    FILE *pipe = popen(command, "r");
    char *text = memory_zero(1, 1 << 18);

    assert_non_null(pipe);
    assert_true(fread(text, 1, (1 << 18) - 1, pipe) < 1 << 18);
    pclose(pipe);
    free(command);
    return text;
}

static void check_manual(const struct sluice_option *option, const char *name)
{
    char *text = read_manual(name);

    for (; option->name; option++) {
        if (!strstr(text, option->name))
            fail_msg("%s: no key %s", name, option->name);
        if (!strstr(text, option->help))
            fail_msg("%s: of %s it does not say: %s", name, option->name, option->help);
        if (option->default_text && !strstr(text, option->default_text))
            fail_msg("%s: of %s the default %s is missing", name, option->name,
                     option->default_text);
    }
    free(text);
}

static void test_manuals_say_what_the_tables_say(void **state)
{
    if (system("command -v mandoc >/dev/null && command -v col >/dev/null") != 0) {
        print_message("skipped: needs mandoc, and col of bsdextrautils\n");
        skip();
    }
    check_manual(mapping_table, "sluice-mapping.5");
    check_manual(service_table, "sluice.yaml.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_what_is_for_publishing_and_what_is_not),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_null_means_unset),
        cmocka_unit_test(test_one_text_is_a_list_of_one),
        cmocka_unit_test(test_a_mistake_leaves_the_default),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_mistakes_of_a_connector_abort),
        cmocka_unit_test(test_our_tables),
        cmocka_unit_test(test_manuals_say_what_the_tables_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
