/* SPDX-License-Identifier: MIT */
#include "io/dead_letter_store_fold.h"

#include <stdbool.h>
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

/* `500` in `HTTP 500` and `status 500` says what went wrong. */
static bool is_status(const struct output *output, const char *word, size_t size)
{
    return size == 3 && is_digit(word[0]) && is_digit(word[1]) && is_digit(word[2]) &&
           (ends_with(output, "HTTP ") || ends_with(output, "status ") ||
            ends_with(output, "Status "));
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

size_t dead_letter_store_fold(const char *reason, char *ret_folded, size_t room)
{
    struct output output = {ret_folded, 0, room};
    const char *at = reason;

    while (*at) {
        size_t size = 0;

        while (in_word(at[size]))
            size++;
        if (size) {
            add_word(&output, at, size);
            at += size;
            continue;
        }
        if ((*at == '"' || *at == '\'' || *at == '`') && (at == reason || !in_word(at[-1]))) {
            const char *end = strchr(at + 1, *at);

            if (end) {
                add(&output, (const char[]){*at, '*', *at}, 3);
                at = end + 1;
                continue;
            }
        }
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
