/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/plugin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "io/plugin_check.h"

#define PREFIX     "sluice-"
#define SUFFIX     ".so"
#define PLACES_MAX 16

struct places {
    char *items[PLACES_MAX];
    size_t count;
};

static struct plugin *loaded;

/* ---- where to look ---- */

static void add_place(struct places *places, const char *path, size_t size)
{
    if (size && places->count < PLACES_MAX)
        places->items[places->count++] = memory_text_n(path, size);
}

static void find_places(const char *directory, struct places *places)
{
    const char *list = getenv("SLUICE_CONNECTORS");
    char program[PATH_MAX];
    ssize_t size;

    places->count = 0;
    if (directory) {
        add_place(places, directory, strlen(directory));
        return;
    }
    while (list && *list) {
        size_t length = strcspn(list, ":");

        add_place(places, list, length);
        list += length + (list[length] == ':');
    }
    size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size > 0) {
        char *beside;

        program[size] = '\0';
        *strrchr(program, '/') = '\0';
        beside = memory_format("%s/connectors", program);
        if (access(beside, F_OK) == 0)
            add_place(places, beside, strlen(beside));
        free(beside);
    }
    add_place(places, SLUICE_CONNECTOR_DIRECTORY, strlen(SLUICE_CONNECTOR_DIRECTORY));
}

static void free_places(struct places *places)
{
    while (places->count)
        free(places->items[--places->count]);
}

char *plugin_places(const char *directory)
{
    struct places places;
    struct buffer text;
    char *copy;
    size_t i;

    find_places(directory, &places);
    buffer_init(&text, 64 * 1024);
    for (i = 0; i < places.count; i++)
        buffer_format(&text, "%s%s",
                      i == 0                  ? ""
                      : i + 1 == places.count ? " and "
                                              : ", ",
                      places.items[i]);
    copy = memory_text(buffer_text(&text));
    buffer_fini(&text);
    free_places(&places);
    return copy;
}

/* ---- listing ---- */

/* The connector's name in a file name: memory of its own, NULL if it is no connector's. */
static char *name_in(const char *file)
{
    size_t size = strlen(file), ends = strlen(PREFIX) + strlen(SUFFIX);

    if (size <= ends || strncmp(file, PREFIX, strlen(PREFIX)) != 0 ||
        strcmp(file + size - strlen(SUFFIX), SUFFIX) != 0)
        return NULL;
    return memory_text_n(file + strlen(PREFIX), size - ends);
}

static bool is_listed(const struct plugin_found *list, size_t count, const char *name)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return true;
    return false;
}

/* Appends the connectors of one directory whose names are not there yet. */
static size_t list_directory(const char *directory, struct plugin_found **list, size_t count)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;

    while (stream && (entry = readdir(stream))) {
        char *name = name_in(entry->d_name);

        if (!name || is_listed(*list, count, name)) {
            free(name);
            continue;
        }
        *list = memory_resize(*list, count + 1, sizeof **list);
        (*list)[count++] = (struct plugin_found){
            .name = name, .path = memory_format("%s/%s", directory, entry->d_name)};
    }
    if (stream)
        closedir(stream);
    return count;
}

static int compare_found(const void *left, const void *right)
{
    const struct plugin_found *a = left, *b = right;

    return strcmp(a->name, b->name);
}

/* Finds without loading. */
static size_t find_all(const struct places *places, struct plugin_found **ret_list)
{
    size_t count = 0, i;

    *ret_list = NULL;
    for (i = 0; i < places->count; i++)
        count = list_directory(places->items[i], ret_list, count);
    if (count)
        qsort(*ret_list, count, sizeof **ret_list, compare_found);
    return count;
}

void plugin_free_list(struct plugin_found *list, size_t count)
{
    while (count) {
        free(list[--count].name);
        free(list[count].path);
    }
    free(list);
}

/* ---- loading ---- */

static const struct plugin *load_file(const char *path, const char *name, struct fault *fault)
{
    sluice_connector_fn symbol;
    struct sluice_connector connector;
    struct plugin *plugin;
    void *library, *address;

    if (plugin_check_file(path, fault) != 0)
        return NULL;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fault_set(fault, "%s cannot be loaded: %s", path, dlerror());
        return NULL;
    }
    address = dlsym(library, SLUICE_CONNECTOR_SYMBOL);
    if (!address) {
        fault_set(fault,
                  "%s is a shared object, but has no symbol " SLUICE_CONNECTOR_SYMBOL
                  ", so it is no connector; see SLUICE_CONNECTOR in <sluice/connector.h>",
                  path);
        return NULL;
    }
    memcpy(&symbol, &address, sizeof symbol);
    if (plugin_check_connector(symbol(), name, &connector, fault) != 0) {
        fault_prefix(fault, "%s cannot be used", path);
        return NULL;
    }
    plugin = memory_zero(1, sizeof *plugin);
    plugin->name = memory_text(name);
    plugin->path = memory_text(path);
    plugin->connector = connector;
    plugin->next = loaded;
    loaded = plugin;
    return plugin;
}

static const struct plugin *load_path(const char *path, const char *name, struct fault *fault)
{
    char *real = realpath(path, NULL);
    struct plugin *plugin;
    const struct plugin *result;

    if (!real) {
        fault_set(fault, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (plugin = loaded; plugin; plugin = plugin->next)
        if (strcmp(plugin->path, real) == 0)
            break;
    result = plugin ? plugin : load_file(real, name, fault);
    free(real);
    return result;
}

static const struct plugin *load_explicit(const char *path, struct fault *fault)
{
    char *name = name_in(strrchr(path, '/') + 1);
    const struct plugin *plugin = NULL;

    if (name)
        plugin = load_path(path, name, fault);
    else
        fault_set(fault, "%s: a connector's file is called " PREFIX "NAME" SUFFIX, path);
    free(name);
    return plugin;
}

static bool is_name(const char *name)
{
    return *name && strlen(name) <= 63 &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")];
}

/* Says what there is instead of `name`. */
static void explain_missing(const char *name, const char *directory, const struct places *places,
                            struct fault *fault)
{
    struct suggest suggest = suggest_begin(name);
    struct plugin_found *list;
    size_t count = find_all(places, &list), i;
    char *where = plugin_places(directory);
    struct buffer names;

    buffer_init(&names, 200);
    for (i = 0; i < count; i++) {
        suggest_offer(&suggest, list[i].name);
        buffer_format(&names, "%s%s", i ? ", " : "", list[i].name);
    }
    if (suggest.nearest)
        fault_set(fault, "no connector \"%.63s\" in %s; did you mean \"%s\"?", name, where,
                  suggest.nearest);
    else if (count)
        fault_set(fault, "no connector \"%.63s\" in %s; there is: %s", name, where,
                  buffer_text(&names));
    else
        fault_set(fault, "no connector \"%.63s\": no file " PREFIX "%.63s" SUFFIX " in %s", name,
                  name, where);
    buffer_fini(&names);
    free(where);
    plugin_free_list(list, count);
}

const struct plugin *plugin_load(const char *name, const char *directory, struct fault *fault)
{
    const struct plugin *plugin = NULL;
    struct places places;
    size_t i;
    bool found = false;

    if (strchr(name, '/'))
        return load_explicit(name, fault);
    if (!is_name(name)) {
        fault_set(fault, "\"%.63s\" is no connector's name; those consist of a-z, 0-9 and -", name);
        return NULL;
    }
    find_places(directory, &places);
    for (i = 0; i < places.count && !found; i++) {
        char *path = memory_format("%s/" PREFIX "%s" SUFFIX, places.items[i], name);

        found = access(path, F_OK) == 0;
        if (found)
            plugin = load_path(path, name, fault);
        free(path);
    }
    if (!found)
        explain_missing(name, directory, &places, fault);
    free_places(&places);
    return plugin;
}

size_t plugin_list(const char *directory, struct plugin_found **ret_list)
{
    struct places places;
    size_t count, i;

    find_places(directory, &places);
    count = find_all(&places, ret_list);
    for (i = 0; i < count; i++) {
        struct plugin_found *found = &(*ret_list)[i];

        found->plugin = load_path(found->path, found->name, &found->fault);
    }
    free_places(&places);
    return count;
}
