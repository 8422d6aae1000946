/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli/dlq_edit_text.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json_edit.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "cli/dlq_inside.h"

#define TEXT_MOST ((size_t)256 << 20)

static bool is_json(const char *text, size_t size)
{
    return size && json_scan(text, size, NULL, 0, NULL);
}

static bool same(const struct buffer *one, struct sluice_bytes other)
{
    return one->size == other.size && (!one->size || !memcmp(one->data, other.data, one->size));
}

/* JSON whose laying out can be taken back. */
static bool can_lay_out(struct sluice_bytes bytes, struct buffer *ret_laid)
{
    struct buffer packed;
    bool can;

    if (!is_json(bytes.data, bytes.size))
        return false;
    buffer_init(&packed, TEXT_MOST);
    json_edit_pack(&packed, bytes.data, bytes.size);
    can = same(&packed, bytes);
    buffer_fini(&packed);
    if (can) {
        json_edit_lay_out(ret_laid, bytes.data, bytes.size);
        buffer_add(ret_laid, "\n", 1);
    }
    return can;
}

/* ---- files ---- */

/* That a shell takes in single quotes. */
static const char *directory_of_files(void)
{
    const char *directory = getenv("TMPDIR");

    return directory && *directory && !strchr(directory, '\'') ? directory : "/tmp";
}

/* A file for the owner alone; its path is to be freed. NULL with errno. */
static char *write_file(const void *data, size_t size, const char *ending)
{
    char *path = memory_format("%s/sluice-letter-XXXXXX%s", directory_of_files(), ending);
    int fd = mkostemps(path, (int)strlen(ending), O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool good = file && fwrite(data, 1, size, file) == size;

    if (file)
        good = fclose(file) == 0 && good;
    if (!good) {
        int error = errno;

        if (fd >= 0)
            unlink(path);
        free(path);
        errno = error;
        return NULL;
    }
    return path;
}

static int read_file(const char *path, struct buffer *ret)
{
    FILE *file = fopen(path, "re");
    char block[65536];
    size_t size;

    if (!file)
        return -1;
    buffer_reset(ret);
    while ((size = fread(block, 1, sizeof block, file)) > 0)
        buffer_add(ret, block, size);
    fclose(file);
    if (ret->full)
        errno = EFBIG;
    return ret->full ? -1 : 0;
}

/* ---- the editor ---- */

static int run_editor(const char *path)
{
    const char *editor = getenv("VISUAL");
    int status = -1;
    pid_t child;

    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    fflush(stdout);
    child = fork();
    if (child == 0) {
        /* As git does: the variable may hold words and options. */
        char *command = memory_format("%s \"$@\"", editor);

        execl("/bin/sh", "sh", "-c", command, editor, path, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return EX_OK;
    fprintf(stderr, "sluice dlq edit: the editor (%s) failed; set EDITOR to another\n", editor);
    return EX_UNAVAILABLE;
}

/* Why it is not JSON, on stderr; true: the person wants to go on editing. */
static bool ask_again(const struct buffer *text)
{
    char answer[16] = "";
    json_error_t error = {.text = "it is not JSON"};
    json_t *document = json_loadb(text->data ? text->data : "", text->size, JSON_DECODE_ANY, &error);

    json_decref(document);
    fprintf(stderr, "sluice dlq edit: it is not JSON any more: line %d, column %d: %s\n",
            error.line, error.column, error.text);
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return false;
    fputs("Edit again? [Y/n] ", stderr);
    return fgets(answer, sizeof answer, stdin) && answer[0] != 'n' && answer[0] != 'N';
}

/* An editor ends the last line, whether the payload did or not. */
static void drop_last_newline(struct sluice_bytes before, struct buffer *after)
{
    bool had = before.size && ((const char *)before.data)[before.size - 1] == '\n';

    if (!had && after->size && after->data[after->size - 1] == '\n')
        after->size--;
}

static int edit_file(const char *path, bool json, struct buffer *ret_text)
{
    for (;;) {
        int code = run_editor(path);

        if (code != EX_OK)
            return code;
        if (read_file(path, ret_text) != 0) {
            fprintf(stderr, "sluice dlq edit: %s: %s\n", path, strerror(errno));
            return EX_IOERR;
        }
        if (!json || is_json(ret_text->data, ret_text->size))
            return EX_OK;
        if (!ask_again(ret_text))
            return EX_DATAERR;
    }
}

int dlq_edit_text(struct sluice_bytes before, struct buffer *ret_after)
{
    struct buffer laid, text;
    bool packed, json = is_json(before.data, before.size);
    char *path;
    int code;

    buffer_init(&laid, TEXT_MOST);
    buffer_init(&text, TEXT_MOST);
    packed = can_lay_out(before, &laid);
    path = packed ? write_file(laid.data, laid.size, ".json")
                  : write_file(before.data, before.size, json ? ".json" : ".txt");
    if (!path) {
        fprintf(stderr, "sluice dlq edit: cannot write a temporary file to %s: %s; TMPDIR names another "
                        "directory\n",
                directory_of_files(), strerror(errno));
        code = EX_CANTCREAT;
    } else {
        struct sluice_bytes shown = packed ? (struct sluice_bytes){laid.data, laid.size} : before;

        code = edit_file(path, json, &text);
        if (code == EX_OK || (read_file(path, &text) == 0 && same(&text, shown)))
            unlink(path);
        else
            fprintf(stderr, "What was written is kept in %s.\n", path);
    }
    if (code == EX_OK && packed) {
        json_edit_pack(ret_after, text.data, text.size);
    } else if (code == EX_OK) {
        drop_last_newline(before, &text);
        buffer_add(ret_after, text.data, text.size);
    }
    free(path);
    buffer_fini(&laid);
    buffer_fini(&text);
    return code;
}

/* ---- the difference ---- */

static char *write_side(struct sluice_bytes bytes)
{
    struct buffer laid;
    char *path;

    buffer_init(&laid, TEXT_MOST);
    if (is_json(bytes.data, bytes.size))
        json_edit_lay_out(&laid, bytes.data, bytes.size);
    else
        buffer_add(&laid, bytes.data, bytes.size);
    buffer_add(&laid, "\n", 1);
    path = write_file(laid.data, laid.size, "");
    buffer_fini(&laid);
    return path;
}

/* What diff says, up to 1 MiB, goes through the filter for strangers' text. */
static void run_diff(const char *before, const char *after)
{
    char *command = memory_format("exec diff -a -u --label before --label after '%s' '%s'", before,
                                  after);
    FILE *pipe = popen(command, "re");
    struct buffer text;
    char block[4096];
    size_t size;

    buffer_init(&text, 1 << 20);
    while (pipe && (size = fread(block, 1, sizeof block, pipe)) > 0)
        buffer_add(&text, block, size);
    if (pipe)
        pclose(pipe);
    dlq_block(text.data ? text.data : "", text.size, 2);
    if (text.full)
        puts("  ... and more");
    buffer_fini(&text);
    free(command);
}

void dlq_edit_diff(struct sluice_bytes before, struct sluice_bytes after)
{
    char *one = write_side(before), *other = write_side(after);

    if (one && other)
        run_diff(one, other);
    if (one)
        unlink(one);
    if (other)
        unlink(other);
    free(one);
    free(other);
}
