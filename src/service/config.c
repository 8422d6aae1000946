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
#include "service/config_files.h"
#include "service/config_mapping.h"
#include "service/option_value.h"
#include "service/secret.h"

/* What configuration_load returns, with the memory that its values point into. */
struct holder {
    struct configuration configuration; /* first */
    struct config_pool *pool;
    atomic_uint holds; /* beyond the first */
};

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
    {"log.level", SLUICE_ENUM, 0, "info", 0, 0, levels, "What is logged: this and what is graver."},
    {"log.format", SLUICE_ENUM, 0, "auto", 0, 0, formats,
     "How: for people, JSON or logfmt; auto is for people on a terminal, else logfmt."},
    {"store_size", SLUICE_BYTES, 0, "1 GiB", INT64_C(1) << 20, INT64_C(1) << 42, NULL,
     "How large the store of tokens may grow."},
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

static void read_service(struct service_settings *service, const struct sluice_values *settings,
                         const struct overrides *overrides, struct problems *problems)
{
    service->state_directory = state_directory(settings, overrides);
    service->control = control_path(settings, service->state_directory);
    service->connector_directory =
        copy_text(overrides->connector_directory, options_text(settings, "connector_directory"));
    service->listen = copy_text(overrides->listen, options_text(settings, "listen"));
    check_listen(settings, service->listen, problems);
    service->log_level = overrides->log_level
                             ? overrides->log_level
                             : (enum log_level)(LOG_ERROR + options_choice(settings, "log.level"));
    service->log_format = overrides->log_format
                              ? overrides->log_format
                              : (enum log_format)options_choice(settings, "log.format");
    service->store_bytes = (size_t)options_number(settings, "store_size");
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
