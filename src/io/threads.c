/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/threads.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/file.h"

/* Reads a small file of a thread, without the newline at its end. "" where it cannot be read. */
static void read_file(const char *thread, const char *file, char *text, size_t room)
{
    char path[96];
    ssize_t size;

    snprintf(path, sizeof path, "/proc/self/task/%.20s/%s", thread, file);
    size = file_read(path, text, room - 1);
    text[size > 0 ? size : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

void threads_describe(struct buffer *text)
{
    DIR *threads = opendir("/proc/self/task");
    const struct dirent *thread;
    const char *separator = "";

    while (threads && (thread = readdir(threads))) {
        char name[32], stat[256], place[64];
        const char *end;

        if (*thread->d_name == '.')
            continue;
        read_file(thread->d_name, "comm", name, sizeof name);
        read_file(thread->d_name, "stat", stat, sizeof stat);
        read_file(thread->d_name, "wchan", place, sizeof place);
        end = strrchr(stat, ')'); /* proc(5): pid (comm) state ... */
        buffer_format(text, "%s%s: %.1s%s%s", separator, name, end && end[1] ? end + 2 : "?",
                      strcmp(place, "0") && *place ? " " : "",
                      strcmp(place, "0") ? place : "");
        separator = ", ";
    }
    if (threads)
        closedir(threads);
}
