/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "template.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"

static const char *const names[TEMPLATE_NAMES] = {
    [TEMPLATE_RECEIPT] = "receipt",         [TEMPLATE_RECEIPTS] = "receipts",
    [TEMPLATE_ID] = "id",                   [TEMPLATE_DELAY] = "delay",
    [TEMPLATE_LEASE] = "lease",             [TEMPLATE_COUNT] = "count",
    [TEMPLATE_BODY] = "body",               [TEMPLATE_BODY_BASE64] = "body_base64",
    [TEMPLATE_BODY_JSON] = "body_json",     [TEMPLATE_KEY] = "key",
    [TEMPLATE_SECRET] = "secret",
};

/* ---- reading ---- */

/* The length of `{name}` at `text`, 0 where there is none. */
static size_t placeholder_size(const char *text)
{
    size_t size = 1;

    if (*text != '{')
        return 0;
    while ((text[size] >= 'a' && text[size] <= 'z') || (text[size] >= '0' && text[size] <= '9') ||
           text[size] == '_')
        size++;
    return size > 1 && text[size] == '}' ? size + 1 : 0;
}

static int name_of(const char *text, size_t size)
{
    for (int name = 0; name < TEMPLATE_NAMES; name++)
        if (strlen(names[name]) == size && !memcmp(names[name], text, size))
            return name;
    return -1;
}

static int unknown(const char *text, size_t size, unsigned allowed, char *ret_problem, size_t room)
{
    size_t used = (size_t)snprintf(ret_problem, room, "found %.*s, expected",
                                   (int)(size < 40 ? size : 40), text);
    const char *between = " ";

    for (int name = 0; name < TEMPLATE_NAMES; name++)
        if (allowed & 1u << name && used < room) {
            used += (size_t)snprintf(ret_problem + used, room - used, "%s{%s}", between, names[name]);
            between = ", ";
        }
    if (used < room)
        snprintf(ret_problem + used, room - used, " or no braces around a lone word");
    return -1;
}

static int add_part(struct template *template, int name, const char *text, size_t size)
{
    if (!size)
        return 0;
    if (template->count == TEMPLATE_PARTS)
        return -1;
    template->parts[template->count++] = (struct template_part){name, text, size};
    if (name >= 0)
        template->uses |= 1u << name;
    return 0;
}

static int read_parts(struct template *template, unsigned allowed, char *ret_problem, size_t room)
{
    const char *begin = template->copy, *at = begin;
    int full = 0;

    while (*at && !full) {
        size_t size = placeholder_size(at);
        int name;

        if (!size) {
            at++;
            continue;
        }
        name = name_of(at + 1, size - 2);
        if (name < 0 || !(allowed & 1u << name))
            return unknown(at, size, allowed, ret_problem, room);
        full = add_part(template, -1, begin, (size_t)(at - begin)) || add_part(template, name, at, size);
        begin = at += size;
    }
    if (!full)
        full = add_part(template, -1, begin, (size_t)(at - begin));
    if (full)
        snprintf(ret_problem, room, "found more than %d pieces, expected fewer placeholders",
                 TEMPLATE_PARTS);
    return full ? -1 : 0;
}

int template_read(const char *text, enum template_place place, unsigned allowed,
                  struct template *ret_template, char *ret_problem, size_t room)
{
    struct template template = {.place = place, .copy = strdup(text)};

    template.parts = calloc(TEMPLATE_PARTS, sizeof *template.parts);
    if (!template.copy || !template.parts) {
        snprintf(ret_problem, room, "no memory");
        template_free(&template);
        return -1;
    }
    if (read_parts(&template, allowed, ret_problem, room)) {
        template_free(&template);
        return -1;
    }
    *ret_template = template;
    return 0;
}

void template_free(struct template *template)
{
    if (template->copy)
        explicit_bzero(template->copy, strlen(template->copy)); /* it may spell a secret out */
    free(template->copy);
    free(template->parts);
    *template = (struct template){0};
}

/* ---- filling ---- */

struct filler {
    const struct template *template;
    char *text;
    size_t size, room, most;
    char *problem;
    size_t problem_room;
};

static bool fails(struct filler *filler, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fails(struct filler *filler, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(filler->problem, filler->problem_room, format, arguments);
    va_end(arguments);
    return false;
}

static bool put(struct filler *filler, const void *data, size_t size)
{
    if (size > filler->most - filler->size)
        return fails(filler, "it would take more than %zu bytes", filler->most);
    if (filler->room - filler->size <= size) { /* one for the NUL */
        size_t room = (filler->size + size + 1) * 2;
        char *text = realloc(filler->text, room);

        if (!text)
            return fails(filler, "no memory");
        filler->text = text;
        filler->room = room;
    }
    if (size)
        memcpy(filler->text + filler->size, data, size);
    filler->size += size;
    filler->text[filler->size] = '\0';
    return true;
}

static bool put_percent(struct filler *filler, const unsigned char *at, size_t size)
{
    for (; size--; at++) {
        char code[4];
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9') || (*at && strchr("-._~", *at));

        snprintf(code, sizeof code, "%%%02X", *at);
        if (!put(filler, plain ? (const char *)at : code, plain ? 1 : 3))
            return false;
    }
    return true;
}

/* How many bytes the UTF-8 character at `at` has; 0: it is none (RFC 3629). */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    size_t size = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;

    if (size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if (size >= 3) {
        unsigned second = at[1];

        if ((*at == 0xe0 && second < 0xa0) || (*at == 0xed && second > 0x9f) ||
            (*at == 0xf0 && second < 0x90) || (*at == 0xf4 && second > 0x8f))
            return 0;
    }
    return size;
}

static bool put_json(struct filler *filler, const unsigned char *at, size_t size)
{
    while (size) {
        size_t bytes = utf8_size(at, size);
        char code[8];

        if (!bytes)
            return fails(filler, "it is not UTF-8, and JSON can hold nothing else: use {body_base64}");
        if (*at < 0x20 || *at == '"' || *at == '\\') {
            if (*at < 0x20)
                snprintf(code, sizeof code, "\\u%04x", *at);
            else
                snprintf(code, sizeof code, "\\%c", *at);
            if (!put(filler, code, strlen(code)))
                return false;
        } else if (!put(filler, at, bytes)) {
            return false;
        }
        at += bytes;
        size -= bytes;
    }
    return true;
}

static bool put_value(struct filler *filler, const void *data, size_t size)
{
    switch (filler->template->place) {
    case TEMPLATE_URL:
    case TEMPLATE_FORM:
        return put_percent(filler, data, size);
    case TEMPLATE_JSON:
        return put_json(filler, data, size);
    case TEMPLATE_HEADER:
        for (size_t i = 0; i < size; i++) {
            unsigned char c = ((const unsigned char *)data)[i];

            if (c < 0x20 || c == 0x7f)
                return fails(filler, "it has a control character, which no header can hold");
        }
        break;
    case TEMPLATE_RAW:
        break;
    }
    return put(filler, data, size);
}

/* A value as the server wrote it: of a string what is between the quotes. */
static bool put_slice(struct filler *filler, struct json_slice value)
{
    bool quoted = value.size >= 2 && *value.data == '"', fine;
    size_t size;
    char *text;

    if (filler->template->place == TEMPLATE_JSON)
        return put(filler, value.data + quoted, value.size - 2 * (size_t)quoted);
    text = json_slice_text(value, &size);
    if (!text)
        return fails(filler, "no memory");
    fine = put_value(filler, text, size);
    free(text);
    return fine;
}

static bool put_receipts(struct filler *filler, const struct template_values *values)
{
    for (size_t i = 0; i < values->receipt_count; i++)
        if ((i && !put(filler, ",", 1)) ||
            !put(filler, values->receipts[i].data, values->receipts[i].size))
            return false;
    return true;
}

static bool put_number(struct filler *filler, long long number)
{
    char text[24];

    return put(filler, text, (size_t)snprintf(text, sizeof text, "%lld", number));
}

static bool put_base64(struct filler *filler, struct sluice_bytes body)
{
    char *text = body.size <= filler->most ? malloc(BASE64_ROOM(body.size)) : NULL;
    bool fine;

    if (!text)
        return fails(filler, "it is too large");
    fine = put_value(filler, text, base64_encode(body.data, body.size, text, 0));
    free(text);
    return fine;
}

static bool put_body_json(struct filler *filler, struct sluice_bytes body)
{
    struct json_slice value;

    if (!json_slice_check(body.data ? body.data : "", body.size, &value))
        return fails(filler, "it is no JSON, which {body_json} stands for: use {body} or {body_base64}");
    return put(filler, value.data, value.size);
}

static bool put_named(struct filler *filler, int name, const struct template_values *values)
{
    switch (name) {
    case TEMPLATE_RECEIPT:
        return values->receipt_count ? put_slice(filler, values->receipts[0]) : true;
    case TEMPLATE_RECEIPTS:
        return put_receipts(filler, values);
    case TEMPLATE_ID:
        return values->id.data ? put_slice(filler, values->id) : true;
    case TEMPLATE_DELAY:
        return put_number(filler, values->delay_s);
    case TEMPLATE_LEASE:
        return put_number(filler, values->lease_s);
    case TEMPLATE_COUNT:
        return put_number(filler, values->count);
    case TEMPLATE_BODY:
        return put_value(filler, values->body.data, values->body.size);
    case TEMPLATE_BODY_BASE64:
        return put_base64(filler, values->body);
    case TEMPLATE_BODY_JSON:
        return put_body_json(filler, values->body);
    case TEMPLATE_KEY:
        return put_value(filler, values->key.data, values->key.size);
    default:
        return put_value(filler, values->secret ? values->secret : "",
                         values->secret ? strlen(values->secret) : 0);
    }
}

char *template_fill(const struct template *template, const struct template_values *values, size_t most,
                    size_t *ret_size, char *ret_problem, size_t room)
{
    struct filler filler = {.template = template, .most = most, .problem = ret_problem,
                            .problem_room = room};
    bool fine = put(&filler, "", 0);

    for (size_t i = 0; fine && i < template->count; i++) {
        const struct template_part *part = &template->parts[i];

        fine = part->name < 0 ? put(&filler, part->text, part->size)
                              : put_named(&filler, part->name, values);
    }
    if (!fine) {
        free(filler.text);
        return NULL;
    }
    *ret_size = filler.size;
    return filler.text;
}
