/* SPDX-License-Identifier: MIT
 * `sluice dlq import`: letters that were exported elsewhere. All lines are read and checked before
 * the first one is taken. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/memory.h"
#include "cli/dlq_inside.h"
#include "cli/dlq_parse.h"
#include "cli/state_directory.h"

#define LINE_MOST   ((size_t)256 << 20) /* 16 MiB of payload and original, escaped at its worst */
#define CHUNK       100                 /* letters written at once, */
#define CHUNK_BYTES ((size_t)8 << 20)   /* and their bytes */

enum { JSON, STATE };

static const struct arguments_option options[] = {
    [JSON] = {"json", 'j', NULL, "Print what was done as a JSON object."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service has an unusual one."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq import",
    .synopsis = "[OPTION...] FILE",
    .description =
        "Adds dead letters that `sluice dlq export` wrote; FILE may be - for standard input.\n"
        "They keep their ids, times and stories; those already there are left as they are, so\n"
        "that importing twice is harmless. Where one line is broken, nothing is imported.",
    .options = options,
    .examples = "  sluice dlq import orders.jsonl",
};

struct import {
    const char *path;
    FILE *file;
    bool json;
    char *line;
    size_t line_room;
    struct dlq_parsed parsed[CHUNK];
    struct dead_letter letters[CHUNK];
    size_t count, bytes;
    uint64_t total;
    struct dead_letter_store *store; /* NULL: lines are only checked */
    struct dead_letter_act act;
};

/* A file that can be read twice. NULL with errno. */
static FILE *open_twice(const char *path)
{
    FILE *from = strcmp(path, "-") == 0 ? stdin : fopen(path, "re"), *copy;
    struct stat status;
    char block[65536];
    size_t size;

    if (!from)
        return NULL;
    if (fstat(fileno(from), &status) == 0 && S_ISREG(status.st_mode) && from != stdin)
        return from;
    copy = tmpfile();
    errno = 0;
    while (copy && (size = fread(block, 1, sizeof block, from)) > 0)
        if (fwrite(block, 1, size, copy) != size)
            break;
    if (copy && (ferror(from) || ferror(copy) || fflush(copy) != 0)) {
        fclose(copy);
        copy = NULL;
    }
    if (from != stdin)
        fclose(from);
    if (copy)
        rewind(copy);
    return copy;
}

static int unreadable(const struct import *import)
{
    fprintf(stderr, "sluice dlq import: %s: %s\n", import->path, strerror(errno));
    return EX_NOINPUT;
}

static int flush(struct import *import, struct fault *fault)
{
    int64_t added = 0;

    if (import->count)
        added = import->store->ops->import(import->store, import->letters, import->count,
                                           &import->act, fault);
    for (size_t i = 0; i < import->count; i++)
        dlq_parsed_fini(&import->parsed[i]);
    import->count = import->bytes = 0;
    return added < 0 ? -1 : 0;
}

/* Reads all lines; with a store, takes them. 0, EX_DATAERR or EX_IOERR (said). */
static int read_lines(struct import *import)
{
    struct fault fault = {.text = ""};
    uint64_t number = 0;
    ssize_t size;

    rewind(import->file);
    while ((size = getline(&import->line, &import->line_room, import->file)) >= 0) {
        struct dlq_parsed *parsed = &import->parsed[import->count];
        int bad;

        number++;
        if (strspn(import->line, " \t\r\n") == (size_t)size)
            continue;
        if ((size_t)size > LINE_MOST)
            bad = fault_set(&fault, "longer than %zu MiB", LINE_MOST >> 20);
        else
            bad = dlq_parse_letter(import->line, (size_t)size, parsed, &fault);
        if (bad) {
            fprintf(stderr, "sluice dlq import: %s, line %llu: %s; nothing was imported\n",
                    import->path, (unsigned long long)number, fault.text);
            return EX_DATAERR;
        }
        import->total += !import->store;
        if (!import->store) {
            dlq_parsed_fini(parsed);
            continue;
        }
        import->letters[import->count++] = parsed->letter;
        import->bytes += (size_t)size;
        if ((import->count == CHUNK || import->bytes >= CHUNK_BYTES) && flush(import, &fault) != 0)
            return dlq_failed(&fault);
    }
    if (ferror(import->file))
        return unreadable(import);
    return flush(import, &fault) != 0 ? dlq_failed(&fault) : EX_OK;
}

static void tell(const struct import *import, bool complete)
{
    char number[DLQ_TIME];

    dlq_number(import->act.count, number);
    if (import->json)
        dlq_json_print(json_pack("{s:s, s:I, s:I}", "action", "import", "read",
                                 (json_int_t)import->total, "imported",
                                 (json_int_t)import->act.count));
    else if (complete)
        printf("%s dead letter%s imported, %llu were there already.\n", number,
               import->act.count == 1 ? "" : "s",
               (unsigned long long)(import->total - import->act.count));
    else
        fprintf(stderr, "%s dead letter%s imported before that; the same command goes on.\n", number,
                import->act.count == 1 ? "" : "s");
}

static int run(struct import *import, const char *directory)
{
    struct fault fault;
    int code;

    import->file = open_twice(import->path);
    if (strcmp(import->path, "-") == 0)
        import->path = "standard input";
    if (!import->file)
        return unreadable(import);
    code = read_lines(import);
    if (code == EX_OK && !import->total) {
        fprintf(stderr, "sluice dlq import: %s: there are no letters in it\n", import->path);
        code = DLQ_EXIT_NONE;
    }
    if (code != EX_OK)
        return code;
    import->store = dead_letter_store_sqlite_open(directory, DEAD_LETTER_WRITE, &fault);
    if (!import->store)
        return dlq_failed(&fault);
    code = read_lines(import);
    import->store->ops->close(import->store);
    tell(import, code == EX_OK);
    return code;
}

int dlq_import(int argc, char **argv)
{
    struct import *import = memory_zero(1, sizeof *import);
    struct arguments arguments;
    const char *state = NULL;
    int option, code = EX_OK;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        import->json |= option == JSON;
        if (option == STATE)
            state = arguments.value;
    }
    if (option == ARGUMENTS_END && arguments.operand_count != 1) {
        code = arguments_refuse(&arguments, "one file, or - for standard input");
    } else if (option == ARGUMENTS_END) {
        char *directory = state_directory_find(state);

        import->path = arguments.operands[0];
        import->act = (struct dead_letter_act){.action = "import", .detail = import->path};
        dlq_who(&import->act);
        code = run(import, directory);
        free((char *)(uintptr_t)import->act.login);
        free(directory);
    }
    if (import->file)
        fclose(import->file);
    free(import->line);
    free(import);
    return code;
}
