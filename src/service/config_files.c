/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/config_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define SERVICE_FILE "sluice.yaml"
#define MAPPINGS     "mappings.d"
#define FILES_MAX    10000

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool is_directory(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Adds a path that this function takes over, unless it is there. */
static void add_path(char ***list, size_t *count, char *path)
{
    size_t i;

    for (i = 0; i < *count; i++)
        if (strcmp((*list)[i], path) == 0) {
            free(path);
            return;
        }
    *list = memory_resize(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] = path;
}

static bool is_same_file(const char *one, const char *other)
{
    struct stat a, b;

    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Takes over `path`. Two different ones cannot both hold. */
static void set_service(struct config_files *files, char *path, struct problems *problems)
{
    if (!files->service) {
        files->service = path;
        return;
    }
    if (!is_same_file(files->service, path))
        problem_add(problems, (struct place){path, 0, 0},
                    "these settings and those of %s cannot both hold; name one of them",
                    files->service);
    free(path);
}

void config_files_want_directory(struct config_files *files, char *path)
{
    add_path(&files->directories, &files->directory_count, path);
}

/* ---- directories ---- */

static bool has_ending(const char *name, const char *ending)
{
    size_t size = strlen(name), tail = strlen(ending);

    return size > tail && strcmp(name + size - tail, ending) == 0;
}

static bool is_mapping_file(const char *name)
{
    return has_ending(name, ".yaml") || has_ending(name, ".yml") || has_ending(name, ".json");
}

void config_files_add_directory(struct config_files *files, const char *directory,
                                struct problems *problems)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;

    if (!stream) {
        problem_add(problems, (struct place){directory, 0, 0}, "cannot be read: %s",
                    strerror(errno));
        return;
    }
    while ((entry = readdir(stream)) && files->count < FILES_MAX) {
        const char *name = entry->d_name;
        char *path;

        if (*name == '.' || strncmp(name, "README", 6) == 0 || strcmp(name, SERVICE_FILE) == 0)
            continue;
        path = memory_format("%s%s%s", directory, has_ending(directory, "/") ? "" : "/", name);
        if (is_mapping_file(name)) {
            add_path(&files->mappings, &files->count, path);
            continue;
        }
        if (!is_directory(path))
            problem_warn(problems, (struct place){path, 0, 0},
                         "not read, as its name does not end in .yaml, .yml or .json");
        free(path);
    }
    closedir(stream);
}

/* sluice.yaml in the directory that `directory` is in: memory of the caller's. */
static char *service_above(const char *directory)
{
    const char *base = base_of(directory);

    if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return memory_format("%s/../" SERVICE_FILE, directory);
    return memory_format("%.*s" SERVICE_FILE, (int)(base - directory), directory);
}

static void find_in_directory(struct config_files *files, const char *path,
                              struct problems *problems)
{
    char *service = memory_format("%s/" SERVICE_FILE, path);
    char *mappings = memory_format("%s/" MAPPINGS, path);
    char *above = service_above(path);

    if (is_there(service)) {
        set_service(files, service, problems);
        files->wants_all = 1;
        service = NULL;
    } else if (is_directory(mappings)) {
        config_files_want_directory(files, mappings);
        mappings = NULL;
    } else {
        if (is_there(above)) {
            set_service(files, above, problems);
            above = NULL;
        }
        config_files_want_directory(files, memory_text(path));
    }
    free(service);
    free(mappings);
    free(above);
}

/* ---- single files ---- */

/* The settings that hold for a mapping file: beside it, or beside its mappings.d. */
static void find_service_of(struct config_files *files, const char *path, struct problems *problems)
{
    const char *base = base_of(path);
    char *directory = base == path ? memory_text(".")
                                   : memory_text_n(path, (size_t)(base - path) - (base - path > 1));
    char *beside = memory_format("%.*s" SERVICE_FILE, (int)(base - path), path);
    char *above = service_above(directory);

    if (is_there(beside)) {
        set_service(files, beside, problems);
        beside = NULL;
    } else if (strcmp(base_of(directory), MAPPINGS) == 0 && is_there(above)) {
        set_service(files, above, problems);
        above = NULL;
    }
    free(directory);
    free(beside);
    free(above);
}

static void find_path(struct config_files *files, const char *path, struct problems *problems)
{
    struct place place = {path, 0, 0};

    if (!is_there(path)) {
        problem_add(problems, place, "%s; expected a directory with sluice.yaml or mapping files",
                    strerror(errno));
        return;
    }
    if (is_directory(path)) {
        find_in_directory(files, path, problems);
    } else if (strcmp(base_of(path), SERVICE_FILE) == 0) {
        set_service(files, memory_text(path), problems);
        files->wants_all = 1;
    } else {
        if (!is_mapping_file(base_of(path)))
            problem_warn(problems, place,
                         "a directory would not have this read, as its name does not end in .yaml, "
                         ".yml or .json");
        find_service_of(files, path, problems);
        add_path(&files->mappings, &files->count, memory_text(path));
    }
}

void config_files_find(struct config_files *files, const char *const *paths, size_t count,
                       const char *service, struct problems *problems)
{
    size_t i;

    *files = (struct config_files){0};
    if (service && is_directory(service))
        files->service = memory_format("%s/" SERVICE_FILE, service);
    else if (service)
        files->service = memory_text(service);
    if (files->service && !is_there(files->service)) {
        problem_add(problems, (struct place){files->service, 0, 0}, "%s", strerror(errno));
        free(files->service);
        files->service = NULL;
    }
    for (i = 0; i < count; i++) {
        size_t size = strlen(paths[i]);
        char *path;

        while (size > 1 && paths[i][size - 1] == '/')
            size--;
        path = memory_text_n(paths[i], size);
        find_path(files, path, problems);
        free(path);
    }
}

static void free_list(char **list, size_t count)
{
    while (count)
        free(list[--count]);
    free(list);
}

void config_files_fini(struct config_files *files)
{
    free(files->service);
    free_list(files->mappings, files->count);
    free_list(files->directories, files->directory_count);
}
