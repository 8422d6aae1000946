/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli/demo_files.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define MARK "# Written by `sluice demo`."

static const char service_text[] =
    MARK "\n\n"
         "# Where tokens and dead letters are kept; counts from the directory of this file.\n"
         "state_directory: state\n";

static const char mapping_text[] = MARK
    "\n"
    "# One mapping: from a source, in batches, to a function. What it means in sentences:\n"
    "#   sluice check --explain FILE\n"
    "\n"
    "source:\n"
    "  kafka:\n"
    "    brokers: \"%s\"   # the demo's own, gone when it ends\n"
    "    topic: orders\n"
    "    group: sluice-orders\n"
    "    start: earliest              # where a new group begins: earliest, latest or a time\n"
    "    session_timeout: 6s\n"
    "    properties: { fetch.wait.max.ms: \"10\" } # any other property of librdkafka\n"
    "\n"
    "# An invocation gets at most so many orders; a smaller batch goes out after the window.\n"
    "batch: { size: 5, bytes: 1 MiB, window: 100ms }\n"
    "\n"
    "# Orders of one customer (the key) one after the other, customers side by side.\n"
    "order: key                       # lane | key | none\n"
    "\n"
    "# What makes an order the same order, wherever and however often it arrives: a value in it.\n"
    "# The function gets it too, and no order with a token that was recorded is invoked again.\n"
    "idempotency: { token: /order/id, ttl: 24h, on_missing: dead_letter }\n"
    "\n"
    "target:\n"
    "  http:\n"
    "    url: \"http://127.0.0.1:%u/orders\"\n"
    "    timeout: 10s\n"
    "    concurrency: 1..4            # invocations at a time; it finds out how many do\n"
    "  format: json                   # json | lambda | raw\n"
    "\n"
    "# A batch that fails is tried again in halves, until a bad message stands alone. That one is "
    "given\n"
    "# up after so many attempts, and only if the function has done something else meanwhile: an\n"
    "# outage costs no message.\n"
    "retry: { attempts: 5, backoff: 100ms..1s, patience: 2m, split: true }\n"
    "\n"
    "# What was given up on, with the whole story: sluice dlq ls\n"
    "dead_letter: { store: local, keep: 30d }\n";

/* ---- the directory ---- */

static bool is_ours(const char *directory)
{
    char *path = memory_format("%s/sluice.yaml", directory);
    char line[sizeof MARK] = "";
    FILE *file = fopen(path, "re");

    free(path);
    if (!file)
        return false;
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    fclose(file);
    return !strcmp(line, MARK);
}

static bool is_empty(const char *directory)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;
    int count = 0;

    if (!stream)
        return false;
    while ((entry = readdir(stream)))
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(stream);
    return count == 0;
}

static int remove_entry(const char *path, const struct stat *what, int kind, struct FTW *place)
{
    return remove(path);
}

static int remove_tree(const char *path)
{
    return nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int make(const char *path, struct fault *fault)
{
    if (mkdir(path, 0755) && errno != EEXIST)
        return fault_set(fault, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

static int take_kept(struct demo_files *files, const char *directory, struct fault *fault)
{
    char *state;
    int failed;

    if (make(directory, fault))
        return -1;
    if (!is_ours(directory) && !is_empty(directory))
        return fault_set(fault,
                         "--keep %s: there is something else in it; give a new directory, "
                         "or one of an earlier demo",
                         directory);
    /* With the tokens of an earlier demo all orders would be duplicates. */
    state = memory_format("%s/state", directory);
    failed = remove_tree(state) && errno != ENOENT;
    if (failed)
        fault_set(fault, "cannot empty %s: %s", state, strerror(errno));
    free(state);
    if (failed)
        return -1;
    files->directory = memory_text(directory);
    return 0;
}

static int make_temporary(struct demo_files *files, struct fault *fault)
{
    const char *base = getenv("TMPDIR");
    char *path = memory_format("%s/sluice-demo-XXXXXX", base && *base ? base : "/tmp");

    if (!mkdtemp(path)) {
        fault_set(fault, "cannot make %s: %s", path, strerror(errno));
        free(path);
        return -1;
    }
    files->directory = path;
    files->temporary = true;
    return 0;
}

int demo_files_init(struct demo_files *files, const char *directory, struct fault *fault)
{
    *files = (struct demo_files){0};
    if (directory ? take_kept(files, directory, fault) : make_temporary(files, fault))
        return -1;
    files->mapping = memory_format("%s/mappings.d/orders.yaml", files->directory);
    files->state = memory_format("%s/state", files->directory);
    return 0;
}

void demo_files_fini(struct demo_files *files)
{
    free(files->directory);
    free(files->mapping);
    free(files->state);
    *files = (struct demo_files){0};
}

void demo_files_remove(const struct demo_files *files)
{
    if (files->temporary)
        remove_tree(files->directory);
}

/* ---- the files ---- */

/* Ends the writing of `file`, which was opened at `path`; NULL where that failed. */
static int finish(FILE *file, const char *path, struct fault *fault)
{
    bool failed = !file || ferror(file);

    if (file && fclose(file))
        failed = true;
    return failed ? fault_set(fault, "cannot write %s: %s", path, strerror(errno)) : 0;
}

static int write_service(const struct demo_files *files, struct fault *fault)
{
    char *path = memory_format("%s/sluice.yaml", files->directory);
    FILE *file = fopen(path, "we");
    int result;

    if (file)
        fputs(service_text, file);
    result = finish(file, path, fault);
    free(path);
    return result;
}

static int write_mapping(const struct demo_files *files, const char *brokers, unsigned port,
                         struct fault *fault)
{
    FILE *file = fopen(files->mapping, "we");

    if (file)
        fprintf(file, mapping_text, brokers, port);
    return finish(file, files->mapping, fault);
}

int demo_files_write(const struct demo_files *files, const char *brokers, unsigned function_port,
                     struct fault *fault)
{
    char *mappings = memory_format("%s/mappings.d", files->directory);
    int failed = make(mappings, fault) || make(files->state, fault);

    free(mappings);
    if (failed || write_service(files, fault))
        return -1;
    return write_mapping(files, brokers, function_port, fault);
}
