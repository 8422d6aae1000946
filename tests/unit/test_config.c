/* SPDX-License-Identifier: MIT
 * Mapping files and sluice.yaml: what is accepted. Mistakes are in test_config_mistakes.c. */
#define _GNU_SOURCE
#include "config_help.h"

/* ---- what is accepted ---- */

static void test_values(void **state)
{
    struct configuration *configuration = load_changed("order: key", "order: key");
    const struct mapping *mapping = configuration->mappings[0];
    const struct rules *rules = &mapping->rules;

    assert_int_equal(configuration->mapping_count, 1);
    assert_string_equal(mapping->name, "orders");
    assert_string_equal(mapping->file, "orders.yaml");
    assert_int_equal(strlen(mapping->revision), 16);
    assert_string_equal(mapping->connector->name, "fake");
    assert_string_equal(mapping->source_group,
                        "fake kafka-1:9092,kafka-2:9092 orders sluice-orders");
    assert_int_equal(rules->batch.size, 50);
    assert_int_equal(rules->batch.bytes, 512 * 1024);
    assert_int_equal(rules->batch.window_us, 100 * CLOCK_MS);
    assert_int_equal(rules->order, ORDER_KEY);
    assert_int_equal(rules->token.source, TOKEN_POINTER);
    assert_string_equal(rules->token.argument, "/order/id");
    assert_int_equal(rules->token.ttl_us, 12 * CLOCK_HOUR);
    assert_int_equal(rules->retry.attempts, 3);
    assert_int_equal(rules->retry.backoff_first_us, CLOCK_SECOND);
    assert_int_equal(rules->retry.backoff_most_us, 10 * CLOCK_SECOND);
    assert_int_equal(rules->retry.age_us, 6 * CLOCK_HOUR);
    assert_int_equal(rules->format, ENVELOPE_JSON);
    assert_string_equal(mapping->target.url, "https://functions.internal/orders");
    assert_int_equal(mapping->dead_letter_keep_us, 7 * CLOCK_DAY);
    configuration_free(configuration);
}

static void test_defaults_of_the_table(void **state)
{
    struct configuration *configuration;
    const struct mapping *mapping;
    const struct rules *rules;

    write_text("small.yaml", "source: {fake: {brokers: [b:1], topic: t, group: g}}\n"
                             "target: {http: {url: \"http://localhost:8080/\"}}\n");
    configuration = load_good("small.yaml");
    mapping = configuration->mappings[0];
    rules = &mapping->rules;
    assert_int_equal(rules->batch.size, 100);
    assert_int_equal(rules->batch.bytes, 1 << 20);
    assert_int_equal(rules->batch.window_us, 200 * CLOCK_MS);
    assert_int_equal(rules->order, ORDER_LANE);
    assert_int_equal(rules->token.source, TOKEN_POSITION);
    assert_null(rules->token.argument);
    assert_int_equal(rules->token.ttl_us, CLOCK_DAY);
    assert_int_equal(rules->token.on_missing, TOKEN_MISSING_DEAD_LETTER);
    assert_int_equal(rules->token.on_conflict, TOKEN_CONFLICT_DEAD_LETTER);
    assert_int_equal(rules->retry.attempts, 5);
    assert_int_equal(rules->retry.backoff_first_us, 200 * CLOCK_MS);
    assert_int_equal(rules->retry.backoff_most_us, 30 * CLOCK_SECOND);
    assert_int_equal(rules->retry.age_us, 0);
    assert_int_equal(rules->retry.patience_us, 2 * CLOCK_MINUTE);
    assert_true(rules->retry.split);
    assert_int_equal(rules->concurrency.least, 1);
    assert_int_equal(rules->concurrency.most, 32);
    assert_false(rules->partial_response);
    assert_int_equal(rules->buffer_messages, 6400);
    assert_int_equal(rules->buffer_bytes, 64 << 20);
    assert_int_equal(rules->distance, 100000);
    assert_int_equal(mapping->pollers, 1);
    assert_int_equal(mapping->drain_us, 30 * CLOCK_SECOND);
    assert_int_equal(mapping->dead_letter_keep_us, 30 * CLOCK_DAY);
    assert_int_equal(mapping->target.timeout_us, 30 * CLOCK_SECOND);
    assert_int_equal(mapping->target.connect_timeout_us, 5 * CLOCK_SECOND);
    assert_int_equal(mapping->target.connections, 32);
    assert_int_equal(mapping->target.auth, HTTP_AUTH_NONE);
    assert_null(mapping->target.headers);
    assert_false(mapping->target.insecure);
    assert_string_equal(configuration->service.state_directory, "/var/lib/sluice");
    assert_int_equal(configuration->service.log_level, LOG_INFO);
    assert_int_equal(configuration->service.store_bytes, 1 << 30);
    assert_null(configuration->service.listen);
    configuration_free(configuration);
}

static void test_yaml_1_2_texts(void **state)
{
    static const char *const texts[] = {"on",   "no",   "y",     "1_000", "0o17", "1e3",
                                        "true", "2024", "12:30", "0x1F",  ".inf"};
    size_t i;

    for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *line = memory_format("topic: %s", texts[i]);
        struct configuration *configuration = load_changed("topic: orders", line);

        assert_string_equal(options_text(configuration->mappings[0]->values, "topic"), texts[i]);
        configuration_free(configuration);
        free(line);
    }
}

static void test_json(void **state)
{
    struct configuration *configuration;

    write_text("orders.json",
               "{\"source\": {\"fake\": {\"brokers\": [\"a:1\", \"b:2\"], \"topic\": \"t\\u00e4\", "
               "\"group\": \"g\", \"secure\": true, \"prefetch\": 7}},\n"
               "\t\"target\": {\"http\": {\"url\": \"http://localhost/\"}}}\n");
    configuration = load_good("orders.json");
    assert_string_equal(options_text(configuration->mappings[0]->values, "topic"), "t\u00e4");
    assert_int_equal(options_count(configuration->mappings[0]->values, "brokers"), 2);
    assert_int_equal(options_number(configuration->mappings[0]->values, "secure"), 1);
    configuration_free(configuration);
}

static void test_aliases(void **state)
{
    struct configuration *configuration =
        load_changed("retry: { attempts: 3, backoff: 1s..10s, age: 6h }\n"
                     "dead_letter: { store: local, keep: 7d }\n",
                     "retry: { attempts: 3, backoff: 1s..10s, age: &long 9h }\n"
                     "dead_letter: { store: local, keep: *long }\n");

    assert_int_equal(configuration->mappings[0]->dead_letter_keep_us, 9 * CLOCK_HOUR);
    configuration_free(configuration);
}

static void test_tokens(void **state)
{
    static const struct {
        const char *text;
        enum token_source source;
        const char *argument;
    } table[] = {
        {"position", TOKEN_POSITION, NULL}, {"key", TOKEN_KEY, NULL},
        {"hash", TOKEN_HASH, NULL},         {"header:order-id", TOKEN_HEADER, "order-id"},
        {"header::x", TOKEN_HEADER, ":x"},  {"/a~1b/~0/0", TOKEN_POINTER, "/a~1b/~0/0"},
        {"/", TOKEN_POINTER, "/"},
    };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct configuration *configuration = load_changed("/order/id", table[i].text);
        const struct token_settings *token = &configuration->mappings[0]->rules.token;

        assert_int_equal(token->source, table[i].source);
        if (table[i].argument)
            assert_string_equal(token->argument, table[i].argument);
        else
            assert_null(token->argument);
        configuration_free(configuration);
    }
}

static void test_target(void **state)
{
    struct configuration *configuration;
    const struct http_settings *target;

    setenv("TEST_BEARER", "xyzzy", 1);
    write_text("ca.pem", "");
    configuration = load_changed("{ url: \"https://functions.internal/orders\" }",
                                 "\n    url: https://functions.internal/orders\n"
                                 "    timeout: 3s\n"
                                 "    concurrency: 4\n"
                                 "    auth: { bearer: !env TEST_BEARER }\n"
                                 "    headers: { X-One: 1, x-two: !env TEST_BEARER }\n"
                                 "    tls: { ca_file: ca.pem }\n"
                                 "    response_limit: 2 MiB\n"
                                 "    unix_socket: run/f.sock");
    target = &configuration->mappings[0]->target;
    assert_int_equal(target->timeout_us, 3 * CLOCK_SECOND);
    assert_int_equal(target->connect_timeout_us, 3 * CLOCK_SECOND);
    assert_int_equal(target->connections, 4);
    assert_int_equal(configuration->mappings[0]->rules.concurrency.least, 4);
    assert_int_equal(target->auth, HTTP_AUTH_BEARER);
    assert_string_equal(target->token, "xyzzy");
    assert_string_equal(target->headers[0], "X-One: 1");
    assert_string_equal(target->headers[1], "x-two: xyzzy");
    assert_null(target->headers[2]);
    assert_string_equal(target->ca_file, "ca.pem");
    assert_string_equal(target->unix_socket, "run/f.sock");
    assert_int_equal(target->response_bytes, 2 << 20);
    configuration_free(configuration);
}

static void test_raw_needs_no_size(void **state)
{
    struct configuration *configuration;
    char *text = replace(good, "size: 50, ", ""), *changed = replace(text, "json", "raw");

    write_text("orders.yaml", changed);
    free(text);
    text = replace(changed, ", window: 100ms", "");
    write_text("orders.yaml", text);
    configuration = load_good("orders.yaml");
    assert_int_equal(configuration->mappings[0]->rules.batch.size, 1);
    configuration_free(configuration);
    free(text);
    free(changed);
}

/* ---- secrets ---- */

static struct configuration *load_password(const char *value, struct problems *problems)
{
    char *lines = memory_format("    group: sluice-orders\n    sasl: { password: %s }\n", value);
    char *text = replace(good, "    group: sluice-orders\n", lines);
    struct configuration *configuration;

    write_text("orders.yaml", text);
    configuration = load("orders.yaml", problems);
    free(lines);
    free(text);
    return configuration;
}

static void test_secrets(void **state)
{
    static const char *const values[] = {"!credential kafka-password", "!env TEST_PASSWORD",
                                         "!file secrets/kafka-password",
                                         "!file \"secrets/kafka-password\""};
    char revision[17] = "";
    size_t i;

    assert_int_equal(system("mkdir -p secrets && echo swordfish > secrets/kafka-password"), 0);
    setenv("CREDENTIALS_DIRECTORY", "secrets", 1);
    setenv("TEST_PASSWORD", "swordfish", 1);
    for (i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct problems problems;
        struct configuration *configuration = load_password(values[i], &problems);

        assert_int_equal(problems.count, 0);
        assert_string_equal(options_text(configuration->mappings[0]->values, "sasl.password"),
                            "swordfish");
        if (*revision)
            assert_string_equal(configuration->mappings[0]->revision, revision);
        memcpy(revision, configuration->mappings[0]->revision, sizeof revision);
        configuration_free(configuration);
    }
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void test_secrets_that_are_missing(void **state)
{
    static const char *const table[][2] = {
        {"!credential nothing",
         "source.fake.sasl.password: !credential nothing: $CREDENTIALS_DIRECTORY is not set, so "
         "there are no credentials here; add LoadCredential=nothing:PATH to the systemd unit, or "
         "set it to a directory that holds a file nothing"},
        {"!credential ../x",
         "source.fake.sasl.password: !credential ../x: a credential's name is a "
         "plain file name, without / and leading dot"},
        {"!env NO_SUCH_VARIABLE",
         "source.fake.sasl.password: !env NO_SUCH_VARIABLE: the environment has no variable of "
         "this "
         "name; set it, for a systemd unit by Environment= or EnvironmentFile="},
        {"!file /no/such/file", "source.fake.sasl.password: !file /no/such/file: /no/such/file "
                                "cannot be read: No such file or directory"},
        {"!file secrets", "source.fake.sasl.password: !file secrets: secrets cannot be read: Is a "
                          "directory"},
        {"!file ''", "source.fake.sasl.password: !file : a path must follow"},
        {"!file zeros", "source.fake.sasl.password: !file zeros: zeros holds a NUL byte, so it is "
                        "no text"},
        {"!file large", "source.fake.sasl.password: !file large: large is larger than 64 KiB"},
        {"!vault x",
         "tag !vault is unknown here; a single value may be !credential NAME, !env NAME "
         "or !file PATH"},
        {"!env [a]", "tag !env is unknown here; a single value may be !credential NAME, !env NAME "
                     "or !file PATH"},
        {"!!binary aGk=", "tag !!binary does not belong here; leave it out"},
    };
    size_t i;

    assert_int_equal(system("mkdir -p secrets; head -c 3 /dev/zero > zeros;"
                            " yes | head -c 70000 > large"),
                     0);
    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct problems problems;
        struct configuration *configuration = load_password(table[i][0], &problems);

        assert_null(configuration);
        assert_int_equal(problems.count, 1);
        assert_string_equal(problems.items[0].text, table[i][1]);
        assert_string_equal(problems.items[0].place, "orders.yaml:6:23");
        problem_free_all(&problems);
    }
}

static void test_secret_in_the_file(void **state)
{
    struct problems problems;
    struct configuration *configuration = load_password("hunter2", &problems);
    struct buffer text;

    assert_non_null(configuration);
    assert_int_equal(problems.count, 1);
    assert_true(problems.items[0].warning);
    assert_string_equal(problems.items[0].text,
                        "source.fake.sasl.password: a secret stands in the file itself; better "
                        "!credential NAME, !file PATH or !env NAME");
    buffer_init(&text, 1 << 20);
    options_print_all(configuration->mappings[0]->values, &text);
    options_print(configuration->mappings[0]->values, "sasl.password", &text);
    assert_null(strstr(buffer_text(&text), "hunter2"));
    assert_non_null(strstr(buffer_text(&text), "(secret)"));
    buffer_fini(&text);
    problem_free_all(&problems);
    configuration_free(configuration);
}

static void test_revision(void **state)
{
    struct configuration *one = load_changed("order: key", "order: key # the same");
    struct configuration *two = load_changed("retry: { attempts: 3, backoff: 1s..10s, age: 6h }",
                                             "retry: { age: 360m, attempts: 3, backoff: "
                                             "1000ms..10s, split: true }");
    struct configuration *three = load_changed("order: key", "order: lane");
    struct configuration *four = load_changed("topic: orders", "topic: order");

    assert_string_equal(one->mappings[0]->revision, two->mappings[0]->revision);
    assert_string_not_equal(one->mappings[0]->revision, three->mappings[0]->revision);
    assert_string_not_equal(one->mappings[0]->revision, four->mappings[0]->revision);
    configuration_free(one);
    configuration_free(two);
    configuration_free(three);
    configuration_free(four);
}

/* ---- sluice.yaml and directories ---- */

static void test_service(void **state)
{
    struct configuration *configuration;

    make_service("state_directory: /srv/sluice\n"
                 "listen: '[::1]:9090'\n"
                 "log: { level: debug, format: json }\n"
                 "store_size: 2 GiB\n");
    configuration = load_good("etc");
    assert_string_equal(configuration->service.state_directory, "/srv/sluice");
    assert_string_equal(configuration->service.listen, "[::1]:9090");
    assert_int_equal(configuration->service.log_level, LOG_DEBUG);
    assert_int_equal(configuration->service.log_format, LOG_JSON);
    assert_true(configuration->service.store_bytes == (size_t)2 << 30);
    assert_int_equal(configuration->mapping_count, 1);
    assert_string_equal(configuration->mappings[0]->file, "etc/mappings.d/orders.yaml");
    configuration_free(configuration);
    configuration = load_good("etc/sluice.yaml");
    assert_int_equal(configuration->mapping_count, 1);
    configuration_free(configuration);
}

static void test_overrides(void **state)
{
    const struct overrides over = {.connector_directory = TEST_PLUGINS,
                                   .state_directory = "/elsewhere",
                                   .listen = "unix:/run/s",
                                   .log_level = LOG_ERROR,
                                   .log_format = LOG_LOGFMT};
    const char *path = "etc";
    struct problems problems = {0};
    struct configuration *configuration;

    make_service("state_directory: /srv/sluice\nlisten: localhost:9090\nlog: {level: debug}\n");
    configuration = configuration_load(&path, 1, &over, &problems);
    assert_non_null(configuration);
    assert_string_equal(configuration->service.state_directory, "/elsewhere");
    assert_string_equal(configuration->service.listen, "unix:/run/s");
    assert_int_equal(configuration->service.log_level, LOG_ERROR);
    assert_int_equal(configuration->service.log_format, LOG_LOGFMT);
    configuration_free(configuration);
}

static void test_inheritance(void **state)
{
    struct configuration *configuration;
    const struct mapping *mapping;

    make_service("defaults:\n"
                 "  source: { fake: { prefetch: 99, topic: other }, unused: { a: 1 } }\n"
                 "  target: { http: { timeout: 9s, headers: { X-A: a, X-B: b } } }\n"
                 "  retry: { attempts: 17, patience: 1m }\n"
                 "  pollers: 3\n");
    write_text("etc/mappings.d/orders.yaml",
               "source: {fake: {brokers: [b:1], topic: t, group: g}}\n"
               "target: {http: {url: \"http://localhost/\", headers: {X-B: c, X-A: ~}}}\n"
               "retry: {attempts: 2, patience: ~}\n");
    configuration = load_good("etc");
    mapping = configuration->mappings[0];
    assert_int_equal(options_number(mapping->values, "prefetch"), 99);
    assert_string_equal(options_text(mapping->values, "topic"), "t");
    assert_int_equal(mapping->target.timeout_us, 9 * CLOCK_SECOND);
    assert_string_equal(mapping->target.headers[0], "X-B: c");
    assert_null(mapping->target.headers[1]);
    assert_int_equal(mapping->rules.retry.attempts, 2);
    assert_int_equal(mapping->rules.retry.patience_us, 2 * CLOCK_MINUTE); /* the table's again */
    assert_int_equal(mapping->pollers, 3);
    configuration_free(configuration);
    configuration = load_good("etc/mappings.d/orders.yaml"); /* a single file inherits too */
    assert_int_equal(configuration->mappings[0]->pollers, 3);
    configuration_free(configuration);
    configuration = load_good("etc/mappings.d");
    assert_int_equal(configuration->mappings[0]->pollers, 3);
    configuration_free(configuration);
}

static void test_authentication_is_inherited_whole(void **state)
{
    struct configuration *configuration;

    setenv("TEST_BEARER", "xyzzy", 1);
    make_service("defaults: { target: { http: { auth: { basic: { username: u, password: !env "
                 "TEST_BEARER } } } } }\n");
    configuration = load_good("etc");
    assert_int_equal(configuration->mappings[0]->target.auth, HTTP_AUTH_BASIC);
    configuration_free(configuration);
    write_text("etc/mappings.d/orders.yaml",
               "source: {fake: {brokers: [b:1], topic: t, group: g}}\n"
               "target: {http: {url: \"https://x/\", auth: {bearer: !env TEST_BEARER}}}\n");
    configuration = load_good("etc");
    assert_int_equal(configuration->mappings[0]->target.auth, HTTP_AUTH_BEARER);
    assert_null(configuration->mappings[0]->target.password);
    configuration_free(configuration);
}

static void test_mappings_elsewhere(void **state)
{
    struct configuration *configuration;

    make_service("mappings: enabled\n");
    assert_int_equal(system("mv etc/mappings.d etc/enabled"), 0);
    configuration = load_good("etc");
    assert_int_equal(configuration->mapping_count, 1);
    configuration_free(configuration);
}

static void test_state_directory_of_the_unit(void **state)
{
    struct configuration *configuration;

    write_text("orders.yaml", good);
    setenv("STATE_DIRECTORY", "/var/lib/private/sluice:/second", 1);
    configuration = load_good("orders.yaml");
    assert_string_equal(configuration->service.state_directory, "/var/lib/private/sluice");
    configuration_free(configuration);
    unsetenv("STATE_DIRECTORY");
}

/* All of config/ as it is installed, by the real connectors; the secrets that it names are here. */
static void test_samples(void **state)
{
    const char *path = TEST_SOURCE "/config";
    const struct overrides over = {.connector_directory = TEST_PLUGINS "/../../connectors"};
    struct problems problems = {0};
    struct configuration *configuration;

    assert_int_equal(system("rm -rf credentials && mkdir -m 700 credentials"), 0);
    write_text("credentials/cloudflare-token", "t");
    write_text("credentials/postgrest-jwt", "t");
    setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
    configuration = configuration_load(&path, 1, &over, &problems);
    unsetenv("CREDENTIALS_DIRECTORY");
    if (!configuration || problems.count)
        fail_msg("%s", print_problems(&problems));
    assert_true(configuration->mapping_count >= 8);
    configuration_free(configuration);
    problem_free_all(&problems);
}

int main(void)
{
    /* Tests write into the directory where they run. */
    if (access("Makefile", F_OK) == 0) {
        fputs("run this by tests/run_programs, which gives it a directory\n", stderr);
        return 64;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_defaults_of_the_table),
        cmocka_unit_test(test_yaml_1_2_texts),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_raw_needs_no_size),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_secrets_that_are_missing),
        cmocka_unit_test(test_secret_in_the_file),
        cmocka_unit_test(test_revision),
        cmocka_unit_test(test_service),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_authentication_is_inherited_whole),
        cmocka_unit_test(test_mappings_elsewhere),
        cmocka_unit_test(test_state_directory_of_the_unit),
        cmocka_unit_test(test_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
