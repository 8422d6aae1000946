/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"

static const char *const tags[] = {
    [REFERENCE_CREDENTIAL] = "!credential", [REFERENCE_ENV] = "!env", [REFERENCE_FILE] = "!file"};

void secret_free(char *value)
{
    if (value)
        explicit_bzero(value, strlen(value));
    free(value);
}

const char *secret_name(const struct node *node)
{
    static _Thread_local char name[256];

    if (node->reference == REFERENCE_NONE)
        return NULL;
    snprintf(name, sizeof name, "%s %s", tags[node->reference], node->text);
    return name;
}

char *secret_path_beside(const char *file, const char *path)
{
    const char *slash = file ? strrchr(file, '/') : NULL;

    if (*path == '/' || !slash)
        return memory_text(path);
    return memory_format("%.*s/%s", (int)(slash - file), file, path);
}

static char *value_of_file(const char *path, struct fault *fault)
{
    char *room = memory_new(SECRET_MAX + 1);
    ssize_t size = file_read(path, room, SECRET_MAX + 1);
    char limit[UNITS_TEXT];
    char *value = NULL;

    if (size < 0)
        fault_set(fault, "%s cannot be read: %s", path, strerror(errno));
    else if (file_check_owner(path, "the file", fault))
        ;
    else if ((size_t)size > SECRET_MAX)
        fault_set(fault, "%s is larger than %s", path,
                  units_print_bytes((int64_t)SECRET_MAX, limit));
    else if (memchr(room, '\0', (size_t)size))
        fault_set(fault, "%s holds a NUL byte, so it is no text", path);
    else {
        if (size && room[size - 1] == '\n')
            size--;
        if (size && room[size - 1] == '\r')
            size--;
        value = memory_text_n(room, (size_t)size);
    }
    explicit_bzero(room, SECRET_MAX + 1);
    free(room);
    return value;
}

static char *read_credential(const char *name, struct fault *fault)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char *path, *value;

    if (!*name || strchr(name, '/') || *name == '.') {
        fault_set(fault, "a credential's name is a plain file name, without / and leading dot");
        return NULL;
    }
    if (!directory || !*directory) {
        fault_set(fault,
                  "$CREDENTIALS_DIRECTORY is not set, so there are no credentials here; add "
                  "LoadCredential=%s:PATH to the systemd unit, or set it to a directory that holds "
                  "a file %s",
                  name, name);
        return NULL;
    }
    path = memory_format("%s/%s", directory, name);
    if (access(path, R_OK) == 0) {
        value = value_of_file(path, fault);
    } else {
        fault_set(fault, "%s cannot be read: %s; add LoadCredential=%s:PATH to the systemd unit",
                  path, strerror(errno), name);
        value = NULL;
    }
    free(path);
    return value;
}

static char *read_environment(const char *name, struct fault *fault)
{
    const char *value = getenv(name);

    if (value)
        return memory_text(value);
    fault_set(fault, "the environment has no variable of this name; set it, for a systemd unit by "
                     "Environment= or EnvironmentFile=");
    return NULL;
}

static char *read_beside(const struct node *node, struct fault *fault)
{
    char *path, *value;

    if (!*node->text) {
        fault_set(fault, "a path must follow");
        return NULL;
    }
    path = secret_path_beside(node->place.file, node->text);
    value = value_of_file(path, fault);
    free(path);
    return value;
}

char *secret_read(const struct node *node, struct fault *fault)
{
    char *value;

    switch (node->reference) {
    case REFERENCE_CREDENTIAL:
        value = read_credential(node->text, fault);
        break;
    case REFERENCE_ENV:
        value = read_environment(node->text, fault);
        break;
    case REFERENCE_FILE:
        value = read_beside(node, fault);
        break;
    default:
        return memory_text(node->text);
    }
    if (!value)
        fault_prefix(fault, "%s", secret_name(node));
    return value;
}
