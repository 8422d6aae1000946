/* SPDX-License-Identifier: MIT */
#include "cli/demo_summary.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/dead_letter_store.h"

#define LETTERS_SHOWN 5

struct letters {
    const struct demo_summary *summary;
    unsigned count, expected;
    char id[sizeof((struct dead_letter *)0)->id]; /* of one of them */
};

/* ---- paths that can be typed ---- */

/* Appends `text` as one word for a shell. */
static char *quote(const char *text)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "/._-+=:,@%";
    size_t size = strlen(text), at = 0;
    char *word;

    if (size && strspn(text, harmless) == size)
        return memory_text(text);
    word = memory_new(4 * size + 3);
    word[at++] = '\'';
    for (; *text; text++) {
        if (*text == '\'') {
            memcpy(word + at, "'\\''", 4);
            at += 4;
        } else {
            word[at++] = *text;
        }
    }
    word[at++] = '\'';
    word[at] = '\0';
    return word;
}

/* This program as it can be called from here. */
static char *program(void)
{
    char path[PATH_MAX] = "sluice", here[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    size_t length;

    if (size > 0)
        path[size] = '\0';
    if (!getcwd(here, sizeof here))
        return quote(path);
    length = strlen(here);
    if (strncmp(path, here, length) != 0 || path[length] != '/')
        return quote(path);
    return strchr(path + length + 1, '/') ? quote(path + length + 1)
                                          : memory_format("./%s", path + length + 1);
}

static void print_next(const struct demo_summary *summary, const struct letters *letters)
{
    char *sluice = program(), *directory = quote(summary->files->directory);
    char *state = quote(summary->files->state), *mapping = quote(summary->files->mapping);

    printf("\nThe mapping it used is kept: %s\n\nTry next:\n", mapping);
    if (letters->count)
        printf("  %s dlq show %s --state %s\n", sluice, letters->id, state);
    else
        printf("  %s dlq ls --state %s\n", sluice, state);
    printf("  %s check --explain %s\n  cat %s\n", sluice, directory, mapping);
    free(sluice);
    free(directory);
    free(state);
    free(mapping);
}

/* ---- dead letters ---- */

static int print_letter(void *argument, const struct dead_letter *letter)
{
    struct letters *letters = argument;
    const char *const *name = letters->summary->refused;

    while (*name && strcmp(*name, letter->token ? letter->token : "") != 0)
        name++;
    letters->expected += *name != NULL;
    memcpy(letters->id, letter->id, sizeof letters->id);
    if (letters->count++ < LETTERS_SHOWN)
        printf("  %s  %s\n", letter->token ? letter->token : "(no token)",
               letter->reason ? letter->reason : "");
    return 0;
}

static void print_letters(struct letters *letters)
{
    const struct dead_letter_query query = {.mapping = "orders"};
    struct fault fault = {.text = ""};
    struct dead_letter_store *store;
    uint64_t count = 0;

    store = dead_letter_store_sqlite_open(letters->summary->files->state, DEAD_LETTER_READ, &fault);
    if (store && !store->ops->count(store, &query, &count, &fault)) {
        printf("%llu dead letters:\n", (unsigned long long)count);
        store->ops->list(store, &query, 0, print_letter, letters, &fault);
    }
    if (fault.text[0])
        printf("the dead letters cannot be read: %s\n", fault.text);
    if (store)
        store->ops->close(store);
}

/* ---- all ---- */

static unsigned expected_letters(const struct demo_summary *summary)
{
    unsigned count = 0;

    while (summary->refused[count])
        count++;
    return count;
}

bool demo_summary_print(const struct demo_summary *summary)
{
    const struct demo_function_status *function = summary->function;
    struct letters letters = {.summary = summary};
    unsigned dead = expected_letters(summary);
    bool good;

    printf("\n%u of %u orders done in %.1f s, ", function->done, summary->orders,
           (double)summary->took_us / 1e6);
    if (function->twice)
        printf("%u of them twice, the others exactly once.\n", function->twice);
    else
        printf("each exactly once.\n");
    print_letters(&letters);
    printf("The function was invoked %u times, each with up to 5 orders. It answered\n"
           "%u times 200, %u times 500, %u times 400, and took 1.5 s for %u of them.\n",
           function->invocations, function->succeeded, function->failed, function->refused,
           function->slow);
    good = letters.count == dead && letters.expected == dead &&
           function->done == summary->orders - dead;
    print_next(summary, &letters);
    return good;
}
