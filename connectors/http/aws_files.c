/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "aws_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MOST ((size_t)1 << 20)
#define BLANK     " \t\r"

/* ---- files ---- */

/* 0 also where there is no such file: then the text is NULL. Nothing but a regular file is read, as
 * another could make the caller wait. */
static int read_file(const char *path, char **ret_text, char *ret_problem, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), error = errno;
    struct stat status;
    size_t size = 0;
    char *text;

    *ret_text = NULL;
    if (fd < 0 && (error == ENOENT || error == ENOTDIR))
        return 0;
    if (fd < 0 || fstat(fd, &status)) {
        snprintf(ret_problem, room, "%s cannot be read: %s", path, strerror(error));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    text = S_ISREG(status.st_mode) && (size_t)status.st_size <= FILE_MOST ? malloc(FILE_MOST + 1) : NULL;
    if (!text) {
        snprintf(ret_problem, room, "%s is no ordinary file of at most %zu bytes", path, FILE_MOST);
        close(fd);
        return -1;
    }
    for (ssize_t got = 1; got > 0 && size < FILE_MOST; size += got > 0 ? (size_t)got : 0)
        got = read(fd, text + size, FILE_MOST - size);
    close(fd);
    text[size] = '\0';
    *ret_text = strdup(text); /* as large as it is */
    explicit_bzero(text, size);
    free(text);
    return *ret_text ? 0 : -1;
}

char *aws_files_text(const char *path, char *ret_problem, size_t room)
{
    char *text;
    size_t size;

    snprintf(ret_problem, room, "no memory");
    if (read_file(path, &text, ret_problem, room))
        return NULL;
    if (!text) {
        snprintf(ret_problem, room, "there is no file %s", path);
        return NULL;
    }
    for (size = strlen(text); size && strchr(BLANK "\n", text[size - 1]); size--)
        text[size - 1] = '\0';
    return text;
}

static int read_shared(const char *variable, const char *name, char **ret_text, char **ret_path,
                       char *ret_problem, size_t room)
{
    const char *path = getenv(variable), *home = getenv("HOME");
    int status;

    if (path && *path)
        return (*ret_path = strdup(path)) ? read_file(path, ret_text, ret_problem, room) : -1;
    if (!home || !*home)
        return 0;
    if (asprintf(ret_path, "%s/.aws/%s", home, name) < 0) {
        *ret_path = NULL;
        return -1;
    }
    status = read_file(*ret_path, ret_text, ret_problem, room);
    /* A home that is closed to the service, as systemd does it, is one without such files. */
    return status && (errno == EACCES || errno == EPERM) ? 0 : status;
}

int aws_files_read(struct aws_files *ret, char *ret_problem, size_t room)
{
    snprintf(ret_problem, room, "no memory");
    *ret = (struct aws_files){0};
    if (!read_shared("AWS_SHARED_CREDENTIALS_FILE", "credentials", &ret->credentials, &ret->credentials_path,
                     ret_problem, room) &&
        !read_shared("AWS_CONFIG_FILE", "config", &ret->config, &ret->config_path, ret_problem, room))
        return 0;
    aws_files_free(ret);
    return -1;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void aws_files_free(struct aws_files *files)
{
    wipe(files->credentials);
    wipe(files->config);
    free(files->credentials_path);
    free(files->config_path);
    *files = (struct aws_files){0};
}

/* ---- what they say ---- */

struct span {
    const char *text;
    size_t size;
};

static struct span trim(const char *begin, const char *end)
{
    while (begin < end && strchr(BLANK, *begin))
        begin++;
    while (end > begin && strchr(BLANK, end[-1]))
        end--;
    return (struct span){begin, (size_t)(end - begin)};
}

static bool is_text(struct span span, const char *text)
{
    return span.size == strlen(text) && !memcmp(span.text, text, span.size);
}

/* Whether the line `[NAME]`, or `[profile NAME]` in the file config, begins the profile's section. */
static bool is_section(struct span line, const char *profile, bool is_config)
{
    const char *end = memchr(line.text, ']', line.size);
    struct span name = trim(line.text + 1, end ? end : line.text);

    if (!end)
        return false;
    if (is_config && name.size > 7 && !strncmp(name.text, "profile", 7) && strchr(BLANK, name.text[7])) {
        name = trim(name.text + 7, name.text + name.size);
        if (name.size >= 2 && (*name.text == '"' || *name.text == '\'') &&
            name.text[name.size - 1] == *name.text)
            name = (struct span){name.text + 1, name.size - 2};
        return is_text(name, profile);
    }
    return is_text(name, profile) && (!is_config || !strcmp(profile, "default"));
}

/* The value behind `KEY =`, to the line's end or a comment. */
static bool read_setting(struct span line, const char *key, struct span *ret)
{
    const char *equals = memchr(line.text, '=', line.size), *end = line.text + line.size;
    struct span name = trim(line.text, equals ? equals : line.text);

    if (!equals || name.size != strlen(key) || strncasecmp(name.text, key, name.size) != 0)
        return false;
    for (const char *at = equals + 1; at + 1 < end; at++)
        if (strchr(BLANK, *at) && (at[1] == '#' || at[1] == ';'))
            end = at;
    *ret = trim(equals + 1, end);
    return true;
}

/* Goes through one file. `key` NULL: whether there is the profile. */
static bool look(const char *file, const char *profile, bool is_config, const char *key, struct span *ret)
{
    bool inside = false, found = false;
    const char *end;

    for (const char *at = file; at && *at; at = *end ? end + 1 : end) {
        struct span line;

        end = at + strcspn(at, "\n");
        line = trim(at, end);
        if (!line.size || *line.text == '#' || *line.text == ';')
            continue;
        if (*line.text == '[')
            inside = is_section(line, profile, is_config);
        /* Lines that are set in belong to a setting before them. */
        if (inside && (!key || (!strchr(BLANK, *at) && read_setting(line, key, ret))))
            found = true;
    }
    return found;
}

char *aws_files_value(const struct aws_files *files, const char *profile, const char *key)
{
    struct span value;

    if ((look(files->credentials, profile, false, key, &value) ||
         look(files->config, profile, true, key, &value)) &&
        value.size)
        return strndup(value.text, value.size);
    return NULL;
}

const char *aws_files_where(const struct aws_files *files, const char *profile, const char *key)
{
    struct span value;

    return look(files->credentials, profile, false, key, &value) ? files->credentials_path
           : look(files->config, profile, true, key, &value)     ? files->config_path
                                                                 : NULL;
}

bool aws_files_has(const struct aws_files *files, const char *profile)
{
    return look(files->credentials, profile, false, NULL, NULL) ||
           look(files->config, profile, true, NULL, NULL);
}
