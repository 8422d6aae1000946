/* SPDX-License-Identifier: MIT */
#include "io/dead_letter_store_fold.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define ID_LENGTH  16 /* a word with digits that is that long is an id */
#define HEX_LENGTH 8  /* one of hexadecimal digits and dashes already at that length */

struct output {
    char *text;
    size_t size, room;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '-';
}

static bool in_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static void add(struct output *output, const char *text, size_t size)
{
    if (output->size + size < output->room) {
        memcpy(output->text + output->size, text, size);
        output->size += size;
    } else {
        output->room = output->size; /* nothing after what did not fit */
    }
}

static bool ends_with(const struct output *output, const char *word)
{
    size_t size = strlen(word);

    return output->size >= size && memcmp(output->text + output->size - size, word, size) == 0 &&
           (output->size == size || !in_word(output->text[output->size - size - 1]));
}

/* `500` in `HTTP 500`, `status 500` and `answered 500` says what went wrong. */
static bool is_status(const struct output *output, const char *word, size_t size)
{
    return size == 3 && is_digit(word[0]) && is_digit(word[1]) && is_digit(word[2]) &&
           (ends_with(output, "HTTP ") || ends_with(output, "status ") ||
            ends_with(output, "Status ") || ends_with(output, "answered "));
}

static void add_word(struct output *output, const char *word, size_t size)
{
    bool digits = false, hex = true;

    for (size_t i = 0; i < size; i++) {
        digits |= is_digit(word[i]);
        hex &= is_hex(word[i]);
    }
    if (!digits || is_status(output, word, size)) {
        add(output, word, size);
        return;
    }
    if (size >= ID_LENGTH || (hex && size >= HEX_LENGTH)) {
        add(output, "#", 1);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(word[i]))
            add(output, &word[i], 1);
        else if (!i || !is_digit(word[i - 1]))
            add(output, "#", 1);
    }
}

/* ---- quoted parts ---- */

static char before(const char *reason, const char *at)
{
    while (at > reason && at[-1] == ' ')
        at--;
    return at > reason ? at[-1] : '\0';
}

/* Whether the member that ends in `"name":` before `at` tells in words what went wrong. */
static bool is_telling(const char *reason, const char *at)
{
    static const char *const names[] = {"error",  "message", "errorMessage", "errorType", "reason",
                                        "detail", "title",   "type",         "code"};
    const char *end = at;

    while (end > reason && (end[-1] == ' ' || end[-1] == ':' || end[-1] == '"'))
        end--;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i]);

        if ((size_t)(end - reason) > size && end[-(ptrdiff_t)size - 1] == '"' &&
            memcmp(end - size, names[i], size) == 0)
            return true;
    }
    return false;
}

enum quoted { QUOTED_ANY, QUOTED_NAME, QUOTED_TEXT };

/* What answers in JSON say is in quotes: names of members stay, values of several words or of telling
 * members are folded like other text. */
static enum quoted kind_of_quoted(const char *reason, const char *at, const char *end)
{
    const char *after = end + 1;

    while (*after == ' ')
        after++;
    if (*after == ':' && (before(reason, at) == '{' || before(reason, at) == ','))
        return QUOTED_NAME;
    if (before(reason, at) == ':' &&
        (memchr(at, ' ', (size_t)(end - at)) || is_telling(reason, at)))
        return QUOTED_TEXT;
    return QUOTED_ANY;
}

/* Takes the quoted part at `at` that ends at `end`. Returns how much was taken; *inside is where a part
 * ends whose text is still to be folded. */
static size_t add_quoted(struct output *output, const char *reason, const char *at, const char *end,
                         const char **inside)
{
    switch (*at == '"' ? kind_of_quoted(reason, at, end) : QUOTED_ANY) {
    case QUOTED_NAME:
        add(output, at, (size_t)(end + 1 - at));
        break;
    case QUOTED_TEXT:
        add(output, at, 1);
        *inside = end;
        return 1;
    case QUOTED_ANY:
        add(output, (const char[]){*at, '*', *at}, 3);
        break;
    }
    return (size_t)(end + 1 - at);
}

size_t dead_letter_store_fold(const char *reason, char *ret_folded, size_t room)
{
    struct output output = {ret_folded, 0, room};
    const char *at = reason, *inside = NULL;

    while (*at) {
        size_t size = 0;

        while (in_word(at[size]))
            size++;
        if (size) {
            add_word(&output, at, size);
            at += size;
            continue;
        }
        if (at != inside && (*at == '"' || *at == '\'' || *at == '`') &&
            (at == reason || !in_word(at[-1]))) {
            const char *end = strchr(at + 1, *at);

            if (end && !(inside && end > inside)) {
                at += add_quoted(&output, reason, at, end, &inside);
                continue;
            }
        }
        if (at == inside)
            inside = NULL;
        if ((unsigned char)*at <= ' ') {
            if (output.size && output.text[output.size - 1] != ' ')
                add(&output, " ", 1);
            at++;
            continue;
        }
        /* A whole UTF-8 character at a time. */
        for (size = 1; ((unsigned char)at[size] & 0xc0) == 0x80; size++)
            ;
        add(&output, at, size);
        at += size;
    }
    while (output.size && output.text[output.size - 1] == ' ')
        output.size--;
    ret_folded[output.size] = '\0';
    return output.size;
}
