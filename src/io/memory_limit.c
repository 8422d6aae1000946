/* SPDX-License-Identifier: MIT */
#include "io/memory_limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

#define PATH_MOST 4096

/* Where the groups of a hierarchy are mounted, and which files limit one. */
struct hierarchy {
    const char *controllers; /* as /proc/self/cgroup names it */
    const char *mount;
    const char *const *files;
};

static const char *const unified_files[] = {"memory.max", "memory.high", NULL};
static const char *const memory_files[] = {"memory.limit_in_bytes", NULL};
static const struct hierarchy hierarchies[] = {
    {"", "/sys/fs/cgroup", unified_files},
    {"memory", "/sys/fs/cgroup/memory", memory_files},
};

/* UINT64_MAX: `max`, or no such file. */
static uint64_t read_limit(const char *root, const struct hierarchy *hierarchy, const char *group,
                           const char *name)
{
    char *path = memory_format("%s%s%s/%s", root, hierarchy->mount, group, name);
    FILE *file = fopen(path, "re");
    uint64_t limit = UINT64_MAX;

    if (file && fscanf(file, "%" SCNu64, &limit) != 1)
        limit = UINT64_MAX;
    if (file)
        fclose(file);
    free(path);
    return limit;
}

/* From the group up to the top, which is seen as "" also where it is a group of a container. */
static uint64_t least_of(const char *root, const struct hierarchy *hierarchy, char *group)
{
    uint64_t least = UINT64_MAX;

    if (strcmp(group, "/") == 0)
        *group = '\0';
    for (;;) {
        char *slash = strrchr(group, '/');

        for (const char *const *name = hierarchy->files; *name; name++) {
            uint64_t limit = read_limit(root, hierarchy, group, *name);

            least = limit < least ? limit : least;
        }
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* A line is HIERARCHY-ID:CONTROLLERS:GROUP. */
static uint64_t limit_of_line(const char *root, char *line)
{
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!group || group[1] != '/')
        return UINT64_MAX;
    controllers++;
    *group++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    for (size_t i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++)
        if (strcmp(controllers, hierarchies[i].controllers) == 0)
            return least_of(root, &hierarchies[i], group);
    return UINT64_MAX;
}

uint64_t memory_limit_read(const char *root)
{
    uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    char *path = memory_format("%s/proc/self/cgroup", root), line[PATH_MOST];
    FILE *file = fopen(path, "re");

    while (file && fgets(line, sizeof line, file)) {
        uint64_t limit = limit_of_line(root, line);

        least = limit < least ? limit : least;
    }
    if (file)
        fclose(file);
    free(path);
    return least;
}
