/* SPDX-License-Identifier: MIT
 * `sluice dlq edit`: payloads changed in an editor, or one value of many. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_edit.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_edit_text.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define SETS_MOST     16
#define FAILURES_TOLD 10
#define CHUNK         500       /* saved at once: the service never waits long for its turn to write */
#define CHUNK_BYTES   (1 << 20) /* of their payloads, where there is more than one */
#define REDRAW_US     (200 * CLOCK_MS)
#define PAYLOAD_MOST  ((size_t)64 << 20)

enum { SET = DLQ_OWN, ALL, YES, DRY_RUN };

static const struct arguments_option options[] = {
    DLQ_OPTIONS,
    [SET] = {"set", 0, "/PTR=VALUE", "Set the value at a JSON Pointer; may be given several times."},
    [ALL] = {"all", 'a', NULL, "All letters, where nothing else chooses."},
    [YES] = {"yes", 'y', NULL, "Do not ask."},
    [DRY_RUN] = {"dry-run", 0, NULL, "Only show what would change."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq edit",
    .synopsis = "[OPTION...] [ID...]",
    .description =
        "Changes the payload of a dead letter in $VISUAL or $EDITOR, or with --set one value in\n"
        "the payloads of all that are chosen. VALUE is JSON, or else text. Shows the difference\n"
        "and asks before it saves. The original payload is kept and shown by `show`.",
    .options = options,
    .examples = "  sluice dlq edit 01KAS7M3Q2 && sluice dlq replay 01KAS7M3Q2\n"
                "  sluice dlq edit --mapping orders --error 'no currency' --set /currency=EUR",
};

struct set {
    char *pointer;
    struct buffer value; /* JSON */
};

/* What is saved together. */
struct chunk {
    struct dead_letter_edit edits[CHUNK]; /* without payloads until they are saved */
    size_t sizes[CHUNK];
    char ids[CHUNK][27];
    struct buffer payloads; /* one after the other */
    size_t count;
};

struct edit {
    struct dlq_choice choice;
    struct set sets[SETS_MOST];
    size_t set_count;
    bool all, yes, dry_run, shown;
    struct dead_letter_store *store, *writer;
    struct dead_letter_act act;
    struct chunk chunk;
    uint64_t changed, same, failed;
    uint64_t total;   /* to be changed */
    int64_t shown_us; /* when the progress was */
    struct fault fault;
    bool broken; /* the store */
};

/* ---- --set ---- */

static int add_set(struct edit *edit, const struct arguments *arguments)
{
    const char *equals = strchr(arguments->value, '=');
    struct set *set = &edit->sets[edit->set_count];
    size_t size;

    if (*arguments->value != '/' || !equals)
        return arguments_refuse(arguments, "--set takes /pointer=value, such as /currency=EUR");
    if (edit->set_count == SETS_MOST)
        return arguments_refuse(arguments, "--set may be given %d times", SETS_MOST);
    size = strlen(++equals);
    set->pointer = memory_text_n(arguments->value, (size_t)(equals - 1 - arguments->value));
    buffer_init(&set->value, PAYLOAD_MOST);
    if (json_scan(equals, size, NULL, 0, NULL)) {
        buffer_add(&set->value, equals, size);
    } else {
        json_t *text = json_stringn(equals, size);
        char *json = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

        json_decref(text);
        if (!json) {
            free(set->pointer);
            return arguments_refuse(arguments, "--set: the value is not UTF-8");
        }
        buffer_add_text(&set->value, json);
        free(json);
    }
    edit->set_count++;
    return EX_OK;
}

/* The payload with all values set. -1 with a fault. */
static int apply(const struct edit *edit, struct sluice_bytes payload, struct buffer *ret,
                 struct fault *fault)
{
    struct buffer from;
    int result = 0;

    buffer_init(&from, PAYLOAD_MOST);
    if (payload.data)
        buffer_add(ret, payload.data, payload.size);
    for (size_t i = 0; result == 0 && i < edit->set_count; i++) {
        struct buffer swap = from;

        from = *ret;
        *ret = swap;
        buffer_reset(ret);
        result = json_edit_set(ret, from.data ? from.data : "", from.size, edit->sets[i].pointer,
                               edit->sets[i].value.data, edit->sets[i].value.size, fault);
    }
    buffer_fini(&from);
    return result;
}

/* ---- saving ---- */

static void tell_failure(struct edit *edit, const char *id, const char *why)
{
    if (edit->failed++ < FAILURES_TOLD)
        fprintf(stderr, "sluice dlq edit: %s: %s\n", id, why);
    else if (edit->failed == FAILURES_TOLD + 1)
        fputs("sluice dlq edit: ... and more\n", stderr);
}

/* A line on the terminal, drawn anew. */
static void show_progress(struct edit *edit)
{
    char done[DLQ_TIME], total[DLQ_TIME];
    int64_t now = clock_now();

    if (edit->choice.json || !isatty(STDERR_FILENO) || now - edit->shown_us < REDRAW_US)
        return;
    edit->shown_us = now;
    fprintf(stderr, "\r\033[K%s of %s edited", dlq_number(edit->changed, done),
            dlq_number(edit->total, total));
}

static void end_progress(struct edit *edit)
{
    if (edit->shown_us)
        fputs("\r\033[K", stderr);
    edit->shown_us = 0;
}

/* Saves what was gathered. Returns whether the store is broken. */
static bool flush(struct edit *edit)
{
    struct chunk *chunk = &edit->chunk;
    const char *payload = chunk->payloads.data ? chunk->payloads.data : "";
    int64_t saved;

    if (!chunk->count || edit->broken)
        return edit->broken;
    for (size_t i = 0; i < chunk->count; payload += chunk->sizes[i++])
        chunk->edits[i].payload = (struct sluice_bytes){payload, chunk->sizes[i]};
    edit->act.failed = edit->failed;
    saved = edit->writer->ops->edit(edit->writer, chunk->edits, chunk->count, &edit->act, &edit->fault);
    edit->broken = saved < 0;
    for (size_t i = 0; saved >= 0 && i < chunk->count; i++) {
        if (!chunk->edits[i].done) {
            end_progress(edit);
            tell_failure(edit, chunk->ids[i], "somebody else changed or removed it meanwhile");
        }
    }
    edit->changed += saved > 0 ? (uint64_t)saved : 0;
    chunk->count = 0;
    buffer_reset(&chunk->payloads);
    return edit->broken;
}

/* Whether it waits to be saved already, as its id was given twice. */
static bool is_gathered(const struct edit *edit, int64_t number)
{
    for (size_t i = 0; edit->choice.id_count > 1 && i < edit->chunk.count; i++)
        if (edit->chunk.edits[i].number == number)
            return true;
    return false;
}

/* Saves it with others. Returns whether the store is broken. */
static bool save(struct edit *edit, const struct dead_letter *letter, const struct buffer *payload)
{
    struct chunk *chunk = &edit->chunk;

    if (is_gathered(edit, letter->dead_wall_us)) {
        edit->same++;
        return false;
    }
    if (chunk->count == CHUNK ||
        (chunk->count && chunk->payloads.size + payload->size > CHUNK_BYTES)) {
        if (flush(edit))
            return true;
        show_progress(edit);
    }
    chunk->edits[chunk->count] = (struct dead_letter_edit){.number = letter->dead_wall_us,
                                                           .edits = letter->edit_count};
    chunk->sizes[chunk->count] = payload->size;
    memcpy(chunk->ids[chunk->count], letter->id, sizeof letter->id);
    if (payload->data)
        buffer_add(&chunk->payloads, payload->data, payload->size);
    chunk->count++;
    return false;
}

/* Sees each letter twice: first to count and to show one of the changes, then, with a writer, to save. */
static int set_one(void *argument, const struct dead_letter *letter)
{
    struct edit *edit = argument;
    struct buffer payload;
    struct fault why;
    int stop = 0;

    buffer_init(&payload, PAYLOAD_MOST);
    if (apply(edit, letter->payload, &payload, &why) != 0) {
        tell_failure(edit, letter->id, why.text);
    } else if (payload.size == letter->payload.size &&
               memcmp(payload.data, letter->payload.data, payload.size) == 0) {
        edit->same++;
    } else if (edit->writer) {
        stop = save(edit, letter, &payload);
    } else {
        edit->changed++;
        if (!edit->shown && !edit->choice.json) {
            printf("Dead letter %s:\n", letter->id);
            dlq_edit_diff(letter->payload,
                          (struct sluice_bytes){payload.data, payload.size});
            edit->shown = true;
        }
    }
    buffer_fini(&payload);
    return stop;
}

static int tell(const struct edit *edit)
{
    char number[DLQ_TIME];

    if (edit->choice.json) {
        dlq_json_print(json_pack("{s:s, s:I, s:I, s:I, s:b}", "action", "edit", "edited",
                                 (json_int_t)edit->changed, "unchanged", (json_int_t)edit->same,
                                 "failed", (json_int_t)edit->failed, "dry_run", edit->dry_run));
    } else {
        printf("%s dead letter%s %s", dlq_number(edit->changed, number),
               edit->changed == 1 ? "" : "s", edit->dry_run ? "would be edited" : "edited");
        if (edit->same)
            printf(", %s had the value already", dlq_number(edit->same, number));
        if (edit->failed)
            printf(", %s could not be", dlq_number(edit->failed, number));
        puts(".");
    }
    return edit->failed ? DLQ_EXIT_SOME : EX_OK;
}

static int set_all(struct edit *edit, const char *directory)
{
    char number[DLQ_TIME];
    int code = dlq_choice_each(&edit->choice, edit->store, usage.command, 1, set_one, edit);

    if (code != EX_OK)
        return code;
    if (!edit->changed && !edit->same && !edit->failed)
        return dlq_choice_none(&edit->choice, edit->store);
    if (edit->dry_run || !edit->changed)
        return tell(edit);
    code = dlq_confirm(usage.command, edit->yes, "Edit %s dead letter%s?",
                       dlq_number(edit->changed, number), edit->changed == 1 ? "" : "s");
    if (code != EX_OK)
        return code;
    edit->total = edit->changed;
    edit->changed = edit->same = edit->failed = 0;
    edit->writer = dlq_open_writer(directory, &code);
    if (!edit->writer)
        return code;
    code = dlq_choice_each(&edit->choice, edit->store, usage.command, 1, set_one, edit);
    flush(edit);
    end_progress(edit);
    if (edit->broken)
        code = dlq_failed(&edit->fault);
    if (code == EX_OK)
        return tell(edit);
    if (edit->broken)
        tell(edit);
    return code;
}

/* ---- the editor ---- */

/* A copy of the one letter's payload, and what it takes to save. */
struct one {
    struct dead_letter letter;
    struct buffer payload;
};

static int copy_one(void *argument, const struct dead_letter *letter)
{
    struct one *one = argument;

    one->letter = *letter;
    if (letter->payload.data)
        buffer_add(&one->payload, letter->payload.data, letter->payload.size);
    return 1;
}

static int edit_one(struct edit *edit, struct one *one, const char *directory)
{
    struct sluice_bytes before = {one->payload.data ? one->payload.data : "", one->payload.size};
    struct buffer after;
    int code;

    buffer_init(&after, PAYLOAD_MOST);
    code = dlq_edit_text(before, &after);
    if (code == EX_OK && after.size == before.size &&
        memcmp(after.data ? after.data : "", before.data, before.size) == 0) {
        edit->same = 1;
        if (edit->choice.json)
            tell(edit);
        else
            puts("Nothing was changed.");
    } else if (code == EX_OK) {
        if (!edit->choice.json)
            dlq_edit_diff(before, (struct sluice_bytes){after.data ? after.data : "", after.size});
        edit->changed = edit->dry_run;
        if (!edit->dry_run)
            code = dlq_confirm(usage.command, edit->yes, "Save dead letter %s?", one->letter.id);
        if (code == EX_OK && !edit->dry_run) {
            edit->writer = dlq_open_writer(directory, &code);
            if (edit->writer && (save(edit, &one->letter, &after) || flush(edit)))
                code = dlq_failed(&edit->fault);
        }
        if (code == EX_OK)
            code = tell(edit);
    }
    buffer_fini(&after);
    return code;
}

static int edit_by_hand(struct edit *edit, const char *directory)
{
    struct one one = {.letter = {.id = ""}};
    int code;

    buffer_init(&one.payload, PAYLOAD_MOST);
    code = dlq_choice_each(&edit->choice, edit->store, usage.command, 1, copy_one, &one);
    if (code == EX_OK)
        code = edit_one(edit, &one, directory);
    buffer_fini(&one.payload);
    return code;
}

/* ---- the command ---- */

static int read_options(struct edit *edit, struct arguments *arguments, int *ret_code)
{
    int option, code = EX_OK;

    while ((option = arguments_next(arguments, ret_code)) >= 0) {
        if (option < DLQ_OWN)
            code = dlq_choice_option(&edit->choice, arguments, option);
        else if (option == SET)
            code = add_set(edit, arguments);
        edit->all |= option == ALL;
        edit->yes |= option == YES;
        edit->dry_run |= option == DRY_RUN;
        if (code != EX_OK)
            break;
    }
    if (option == ARGUMENTS_DONE)
        return -1;
    if (code == EX_OK)
        code = dlq_choice_ids(&edit->choice, arguments);
    if (code == EX_OK && !edit->set_count && edit->choice.id_count != 1)
        code = arguments_refuse(arguments, "one id, or --set for many");
    if (code == EX_OK && !edit->choice.id_count && !edit->choice.filtered && !edit->all)
        code = arguments_refuse(arguments, "which ones? Give ids or filters, or --all");
    *ret_code = code;
    return code == EX_OK ? 0 : -1;
}

static void edit_fini(struct edit *edit)
{
    for (size_t i = 0; i < edit->set_count; i++) {
        free(edit->sets[i].pointer);
        buffer_fini(&edit->sets[i].value);
    }
    if (edit->store)
        edit->store->ops->close(edit->store);
    if (edit->writer)
        edit->writer->ops->close(edit->writer);
    free((char *)(uintptr_t)edit->act.login);
    buffer_fini(&edit->chunk.payloads);
    dlq_choice_fini(&edit->choice);
    free(edit);
}

int dlq_edit(int argc, char **argv)
{
    struct edit *edit = memory_zero(1, sizeof *edit);
    char *detail = dlq_choice_text(argc, argv), *directory;
    struct arguments arguments;
    int code = EX_OK;

    buffer_init(&edit->chunk.payloads, PAYLOAD_MOST + CHUNK_BYTES);
    arguments_begin(&arguments, &usage, argc, argv);
    if (read_options(edit, &arguments, &code) == 0) {
        edit->act = (struct dead_letter_act){.action = "edit", .detail = detail};
        dlq_who(&edit->act);
        directory = state_directory_find(edit->choice.state);
        edit->store = dlq_open(directory, true, &code);
        if (!edit->store && code == EX_OK)
            code = dlq_choice_none(&edit->choice, NULL);
        else if (edit->store && edit->set_count)
            code = set_all(edit, directory);
        else if (edit->store)
            code = edit_by_hand(edit, directory);
        free(directory);
    }
    edit_fini(edit);
    free(detail);
    return code;
}
