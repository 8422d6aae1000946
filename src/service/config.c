/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service/config_conflicts.h"
#include "service/config_control.h"
#include "service/config_files.h"
#include "service/config_mapping.h"
#include "service/config_traces.h"
#include "service/lane_slots.h"
#include "service/option_value.h"
#include "service/secret.h"

/* What configuration_load returns, with the memory that its values point into. */
struct holder {
    struct configuration configuration; /* first */
    struct config_pool *pool;
    atomic_uint holds; /* beyond the first */
};

#define PRICE_MOST 1000000

static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const formats[] = {"auto", "human", "json", "logfmt", NULL};

const struct sluice_option service_table[] = {
    {"state_directory", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Where tokens and dead letters are kept; $STATE_DIRECTORY, else /var/lib/sluice, if unset."},
    {"connector_directory", OPTION_PATH, SLUICE_OPTION_ADVANCED, NULL, 0, 0, NULL,
     "The only directory to load connectors from; `sluice connectors --help` tells where they are "
     "looked for if unset."},
    {"mappings", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Directory of the mapping files; mappings.d beside sluice.yaml if unset."},
    {"listen", SLUICE_STRING, 0, NULL, 0, 0, NULL,
     "Where the service answers about itself: HOST:PORT or unix:PATH; nowhere if unset."},
    {"control", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Socket that takes orders: status, reload, pause; control.sock in $RUNTIME_DIRECTORY, else in "
     "the state directory, if unset."},
    {"control_http.listen", SLUICE_STRING, 0, NULL, 0, 0, NULL,
     "Where the same orders are taken over TCP: ADDRESS:PORT, with token, tls.client_ca_file or both; "
     "nowhere if unset."},
    {"control_http.token", SLUICE_SECRET, 0, NULL, 0, 0, NULL,
     "What callers must show as `Authorization: Bearer TOKEN`; at least 16 characters."},
    {"control_http.tls.certificate_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Certificate and chain, PEM: makes it https, and an address that other machines reach "
     "possible."},
    {"control_http.tls.key_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Its private key, PEM, without a password."},
    {"control_http.tls.client_ca_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "CA whose client certificates callers must show; with a token, both are needed."},
    {"log.level", SLUICE_ENUM, 0, "info", 0, 0, levels, "What is logged: this and what is graver."},
    {"log.format", SLUICE_ENUM, 0, "auto", 0, 0, formats,
     "How: for people, JSON or logfmt; auto is for people on a terminal, else logfmt."},
    {"store_size", SLUICE_BYTES, 0, "1 GiB", INT64_C(1) << 20, INT64_C(1) << 42, NULL,
     "How large the store of tokens may grow."},
    {"memory", SLUICE_BYTES, 0, NULL, INT64_C(16) << 20, INT64_C(1) << 42, NULL,
     "What the messages that all mappings have received and not finished may take together; half of "
     "what the machine, or the memory limit of the service, allows if unset."},
    {"metrics.lanes", SLUICE_INT, 0, "100", 0, LANE_SLOTS_MOST, NULL,
     "Lanes of a mapping that have metrics of their own; the others are summed. 0: none at all."},
    {"prices.currency", SLUICE_STRING, 0, NULL, 0, 0, NULL,
     "What prices are in, as `sluice cost` shows it: USD, EUR."},
    {"prices.invocation", OPTION_DECIMAL, 0, NULL, 0, PRICE_MOST, NULL,
     "Price of an invocation; 0 if unset."},
    {"prices.second", OPTION_DECIMAL, 0, NULL, 0, PRICE_MOST, NULL,
     "Price of a second that the function runs, for its memory; 0 if unset."},
    {"prices.message", OPTION_DECIMAL, 0, NULL, 0, PRICE_MOST, NULL,
     "Price of a message that is done; 0 if unset."},
    {"prices.gigabyte", OPTION_DECIMAL, 0, NULL, 0, PRICE_MOST, NULL,
     "Price of 10^9 bytes received from the source or sent to the function; 0 if unset."},
    {"traces.endpoint", SLUICE_STRING, 0, NULL, 0, 0, NULL,
     "URL that takes traces by OTLP/HTTP as JSON, as http://127.0.0.1:4318/v1/traces; none are made if "
     "unset."},
    {"traces.sample", OPTION_DECIMAL, 0, "0.01", 0, 1, NULL,
     "Share of traces that is kept, where no producer has decided."},
    {"traces.headers", SLUICE_MAP, 0, NULL, 0, 0, NULL,
     "Headers sent with them, such as an Authorization by !credential."},
    {"traces.tls.ca_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "CA certificates to trust instead of the system's, PEM."},
    {"defaults", OPTION_ELSEWHERE, 0, NULL, 0, 0, NULL,
     "What every mapping has that does not say otherwise; the keys of a mapping file."},
    {0},
};

/* ---- sluice.yaml ---- */

static bool is_port(const char *text)
{
    size_t size = strspn(text, "0123456789");

    return size && size <= 5 && !text[size] && atoi(text) <= 65535;
}

static void check_listen(const struct sluice_values *settings, const char *listen,
                         struct problems *problems)
{
    const char *colon = listen ? strrchr(listen, ':') : NULL;

    if (!listen || (strncmp(listen, "unix:/", 6) == 0 && listen[6]))
        return;
    if (colon && colon != listen && is_port(colon + 1) && strncmp(listen, "unix:", 5) != 0 &&
        (*listen == '[' ? colon[-1] == ']' : !memchr(listen, ':', (size_t)(colon - listen))))
        return;
    problem_add(problems, options_place(settings, "listen"),
                "listen: found \"%.80s\", expected HOST:PORT such as 127.0.0.1:9090 or [::1]:9090, "
                "or unix:/PATH",
                listen);
}

static char *state_directory(const struct sluice_values *settings,
                             const struct overrides *overrides)
{
    const char *unit = getenv("STATE_DIRECTORY"), *written;

    if (overrides->state_directory)
        return memory_text(overrides->state_directory);
    written = options_text(settings, "state_directory");
    if (written)
        return memory_text(written);
    if (unit && *unit)
        return memory_text_n(unit, strcspn(unit, ":"));
    return memory_text("/var/lib/sluice");
}

static char *control_path(const struct sluice_values *settings, const char *state_directory)
{
    const char *unit = getenv("RUNTIME_DIRECTORY"), *written = options_text(settings, "control");

    if (written)
        return memory_text(written);
    if (unit && *unit)
        return memory_format("%.*s/control.sock", (int)strcspn(unit, ":"), unit);
    return memory_format("%s/control.sock", state_directory);
}

static char *copy_text(const char *over, const char *text)
{
    return over ? memory_text(over) : text ? memory_text(text) : NULL;
}

static void read_prices(struct prices *prices, const struct sluice_values *settings)
{
    static const char *const names[] = {"prices.invocation", "prices.second", "prices.message",
                                        "prices.gigabyte"};
    double *const numbers[] = {&prices->invocation, &prices->second, &prices->message,
                               &prices->gigabyte};
    const char *currency = options_text(settings, "prices.currency");

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *numbers[i] = options_decimal(settings, names[i]);
        prices->set |= options_is_set(settings, names[i]);
    }
    snprintf(prices->currency, sizeof prices->currency, "%s", currency ? currency : "");
}

static void read_service(struct service_settings *service, const struct sluice_values *settings,
                         const struct overrides *overrides, struct problems *problems)
{
    service->state_directory = state_directory(settings, overrides);
    service->control = control_path(settings, service->state_directory);
    service->connector_directory =
        copy_text(overrides->connector_directory, options_text(settings, "connector_directory"));
    service->listen = copy_text(overrides->listen, options_text(settings, "listen"));
    check_listen(settings, service->listen, problems);
    config_control_read(settings, &service->control_http, problems);
    service->log_level = overrides->log_level
                             ? overrides->log_level
                             : (enum log_level)(LOG_ERROR + options_choice(settings, "log.level"));
    service->log_format = overrides->log_format
                              ? overrides->log_format
                              : (enum log_format)options_choice(settings, "log.format");
    service->store_bytes = (size_t)options_number(settings, "store_size");
    service->memory = options_is_set(settings, "memory") ? (uint64_t)options_number(settings, "memory") : 0;
    read_prices(&service->prices, settings);
    config_traces_read(settings, &service->traces, problems);
    service->metric_lanes = (uint32_t)options_number(settings, "metrics.lanes");
}

/* ---- loading ---- */

struct loading {
    struct holder *holder;
    struct config_files files;
    struct sluice_values *settings; /* of sluice.yaml */
    const struct node *defaults;
    const struct overrides *overrides;
    struct problems *problems;
};

static void load_service(struct loading *loading)
{
    const char *path = loading->files.service;
    struct problems *problems = loading->problems;
    const struct node *tree = NULL;
    struct place place = {NULL, 0, 0};

    if (path) {
        tree = config_tree_read(loading->holder->pool, path, problems);
        place.file = config_pool_text(loading->holder->pool, path);
        place.line = place.column = 1;
    }
    loading->settings = options_read(service_table, NULL, tree, place, problems);
    loading->defaults = options_node(loading->settings, "defaults");
    if (loading->defaults && loading->defaults->kind != NODE_MAP) {
        problem_add(problems, loading->defaults->place,
                    "defaults: found %s, expected a map with keys of a mapping file",
                    option_value_found(loading->defaults));
        loading->defaults = NULL;
    }
    read_service(&loading->holder->configuration.service, loading->settings, loading->overrides,
                 problems);
}

/* Adds the mapping files of the directories that are wanted. */
static void list_mappings(struct loading *loading)
{
    struct config_files *files = &loading->files;
    size_t i;

    if (files->wants_all) {
        const char *written = options_text(loading->settings, "mappings");

        config_files_want_directory(files, written
                                               ? memory_text(written)
                                               : secret_path_beside(files->service, "mappings.d"));
    }
    for (i = 0; i < files->directory_count; i++)
        config_files_add_directory(files, files->directories[i], loading->problems);
}

static int compare_names(const void *left, const void *right)
{
    const struct mapping *const *a = left, *const *b = right;

    return strcmp((*a)->name, (*b)->name);
}

static int compare_paths(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void load_mappings(struct loading *loading)
{
    struct configuration *configuration = &loading->holder->configuration;
    const struct config_files *files = &loading->files;
    const struct mapping_context context = {
        .pool = loading->holder->pool,
        .defaults = loading->defaults,
        .connector_directory = configuration->service.connector_directory,
        .problems = loading->problems,
    };
    size_t i;

    if (files->count)
        qsort(files->mappings, files->count, sizeof *files->mappings, compare_paths);
    configuration->mappings = memory_zero(files->count, sizeof *configuration->mappings);
    for (i = 0; i < files->count; i++) {
        struct mapping *mapping = config_mapping_read(&context, files->mappings[i]);

        if (mapping)
            configuration->mappings[configuration->mapping_count++] = mapping;
    }
    qsort(configuration->mappings, configuration->mapping_count, sizeof *configuration->mappings,
          compare_names);
    config_conflicts_check(configuration, loading->problems);
}

static void complain_none(const struct loading *loading)
{
    problem_add(loading->problems, (struct place){loading->files.directories[0], 0, 0},
                "no mapping in here; put a file such as orders.yaml into it");
}

struct configuration *configuration_load(const char *const *paths, size_t count,
                                         const struct overrides *overrides,
                                         struct problems *problems)
{
    static const char *const standard[] = {SLUICE_CONFIG_DIRECTORY};
    static const struct overrides nothing;
    struct loading loading = {.overrides = overrides ? overrides : &nothing, .problems = problems};

    loading.holder = memory_zero(1, sizeof *loading.holder);
    loading.holder->pool = config_pool_new();
    config_files_find(&loading.files, count ? paths : standard, count ? count : 1,
                      loading.overrides->service, problems);
    load_service(&loading);
    list_mappings(&loading);
    if (!loading.files.count && !problems->errors)
        complain_none(&loading);
    load_mappings(&loading);
    config_files_fini(&loading.files);
    options_free(loading.settings);
    problem_sort(problems);
    if (!problems->errors)
        return &loading.holder->configuration;
    configuration_free(&loading.holder->configuration);
    return NULL;
}

struct configuration *configuration_hold(struct configuration *configuration)
{
    atomic_fetch_add(&((struct holder *)configuration)->holds, 1);
    return configuration;
}

void configuration_free(struct configuration *configuration)
{
    struct holder *holder = (struct holder *)configuration;
    size_t i;

    if (!configuration || atomic_fetch_sub(&holder->holds, 1))
        return;
    for (i = 0; i < configuration->mapping_count; i++)
        mapping_free(configuration->mappings[i]);
    free(configuration->mappings);
    free(configuration->service.state_directory);
    free(configuration->service.control);
    free(configuration->service.connector_directory);
    free(configuration->service.listen);
    config_control_fini(&configuration->service.control_http);
    config_traces_fini(&configuration->service.traces);
    config_pool_free(holder->pool);
    free(holder);
}

int64_t configuration_longest_ttl(const struct configuration *configuration)
{
    int64_t ttl_us = CLOCK_HOUR;

    for (size_t i = 0; i < configuration->mapping_count; i++)
        if (configuration->mappings[i]->rules.token.ttl_us > ttl_us)
            ttl_us = configuration->mappings[i]->rules.token.ttl_us;
    return ttl_us;
}
