/* SPDX-License-Identifier: MIT
 * The dialect `generic`: reading what a mapping says, and refusing what cannot work. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generic.h"

#define BIT(name) (1u << (name))
#define WHICH (BIT(TEMPLATE_RECEIPT) | BIT(TEMPLATE_RECEIPTS) | BIT(TEMPLATE_ID))

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* "generic.CALL.PART" in a buffer of the caller's. */
#define OPTION 64
static const char *option_of(char option[static OPTION], const char *call, const char *part)
{
    snprintf(option, OPTION, "generic.%s.%s", call, part);
    return option;
}

/* ---- headers ---- */

static bool is_header_name(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr(others, *at))
            return false;
    return *name;
}

static void read_header(struct http_reader *reader, struct generic *generic, const char *name,
                        const char *value)
{
    struct generic_header *header = &generic->headers[generic->header_count];
    char problem[HTTP_TEXT / 2], option[200];

    snprintf(option, sizeof option, "generic.headers.%.100s", name);
    if (!is_header_name(name) || strpbrk(value, "\r\n")) {
        http_refuse(reader, option, "expected the name of a header and a value of one line");
        return;
    }
    if (template_read(value, TEMPLATE_HEADER, BIT(TEMPLATE_SECRET), &header->value, problem,
                      sizeof problem)) {
        http_refuse(reader, option, "%s", problem);
        return;
    }
    header->name = strdup(name);
    generic->header_count++;
}

static void read_headers(struct http_reader *reader, struct generic *generic)
{
    size_t count = reader->api->values->count(reader->values, "generic.headers");

    if (count > GENERIC_HEADERS) {
        http_refuse(reader, "generic.headers", "found %zu, expected at most %d", count, GENERIC_HEADERS);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *value, *name = reader->api->values->item(reader->values, "generic.headers", i, &value);

        read_header(reader, generic, name, value);
    }
}

/* What the headers say of bodies, or NULL. */
static const char *content_type_of(const struct generic *generic)
{
    for (size_t i = 0; i < generic->header_count; i++)
        if (!strcasecmp(generic->headers[i].name, "Content-Type"))
            return generic->headers[i].value.copy;
    return NULL;
}

/* ---- calls ---- */

/* The scheme and the host are fixed, so that no message decides where secrets go. */
static bool check_address(struct http_reader *reader, const char *option, const char *url)
{
    const char *host = !strncmp(url, "https://", 8)  ? url + 8
                       : !strncmp(url, "http://", 7) ? url + 7
                                                     : NULL;
    size_t size = host ? strcspn(host, "/?#") : 0;

    if (size && !memchr(host, '{', size) && !memchr(host, '@', size) && !strpbrk(url, " \t\r\n\"<>"))
        return true;
    http_refuse(reader, option,
                "found \"%.100s\", expected an address that begins with https:// or http:// and a fixed "
                "host, without blanks or user",
                url);
    return false;
}

static void read_template(struct http_reader *reader, const char *option, const char *text,
                          enum template_place place, unsigned allowed, struct template *ret_template)
{
    char problem[HTTP_TEXT / 2];

    if (template_read(text, place, allowed | BIT(TEMPLATE_SECRET), ret_template, problem, sizeof problem))
        http_refuse(reader, option, "%s", problem);
}

/* Fills a body of JSON in with examples: what is no JSON then is a mistake of the template's. */
static void try_body(struct http_reader *reader, const char *option, const struct template *body)
{
    struct json_slice receipt = {"1", 1}, value;
    const struct template_values values = {.receipts = &receipt,
                                           .receipt_count = 1,
                                           .id = receipt,
                                           .delay_s = 1,
                                           .lease_s = 1,
                                           .count = 1,
                                           .body = {"1", 1},
                                           .key = {"1", 1},
                                           .secret = "1"};
    char problem[HTTP_TEXT / 2], *text;
    size_t size;

    if (body->place != TEMPLATE_JSON || reader->refused)
        return;
    text = template_fill(body, &values, HTTP_BODY_MOST, &size, problem, sizeof problem);
    if (text && !json_slice_check(text, size, &value))
        http_refuse(reader, option,
                    "is no JSON when 1 is filled in for each placeholder; expected JSON, with texts "
                    "within quotes, or another Content-Type in generic.headers");
    free(text);
}

static enum template_place place_of(const char *content_type)
{
    return strcasestr(content_type, "json")                    ? TEMPLATE_JSON
           : strcasestr(content_type, "x-www-form-urlencoded") ? TEMPLATE_FORM
                                                               : TEMPLATE_RAW;
}

static void read_body(struct http_reader *reader, struct generic *generic, const char *name,
                      const char *text, unsigned allowed, struct generic_call *call)
{
    char option[OPTION];
    const char *own = !strcmp(name, "publish") ? http_text(reader, "generic.publish.content_type") : NULL;
    const char *type = own ? own : content_type_of(generic);

    if (!strcmp(call->method, "GET")) {
        http_refuse(reader, option_of(option, name, "body"), "a GET has no body: choose another method");
        return;
    }
    call->has_body = true;
    if (own || !type)
        call->content_type = strdup(own ? own : "application/json");
    if (own && (strpbrk(own, "\r\n") || !*own))
        http_refuse(reader, "generic.publish.content_type", "expected a media type of one line");
    read_template(reader, option_of(option, name, "body"), text,
                  place_of(type ? type : "application/json"), allowed, &call->body);
    try_body(reader, option_of(option, name, "body"), &call->body);
}

/* A call without an address is none; then its other options are mistakes. */
static void read_call(struct http_reader *reader, struct generic *generic, const char *name,
                      unsigned allowed, struct generic_call *call)
{
    char option[OPTION];
    const char *url = http_text(reader, option_of(option, name, "url"));
    const char *body = http_text(reader, option_of(option, name, "body"));

    if (!url) {
        if (body)
            http_refuse(reader, option_of(option, name, "body"),
                        "goes with generic.%s.url, which is missing", name);
        return;
    }
    call->method = http_text(reader, option_of(option, name, "method"));
    if (!check_address(reader, option_of(option, name, "url"), url))
        return;
    read_template(reader, option_of(option, name, "url"), url, TEMPLATE_URL, allowed, &call->url);
    if (body)
        read_body(reader, generic, name, body, allowed, call);
    call->together = (call->url.uses | call->body.uses) & BIT(TEMPLATE_RECEIPTS);
    if (call->together && (call->url.uses | call->body.uses) & (WHICH & ~BIT(TEMPLATE_RECEIPTS)))
        http_refuse(reader, option_of(option, name, "url"),
                    "names several messages by {receipts} and one by {receipt} or {id}: take one out");
}

static void read_calls(struct http_reader *reader, struct generic *generic)
{
    static const struct {
        const char *name;
        size_t call;
        unsigned more;
    } settling[] = {{"ack", offsetof(struct generic, acknowledge), 0},
                    {"release", offsetof(struct generic, release), BIT(TEMPLATE_DELAY)},
                    {"extend", offsetof(struct generic, extend), BIT(TEMPLATE_LEASE)}};

    if (reader->publishing) {
        http_demand(reader, "generic.publish.url", "the address that takes a new message");
    } else {
        http_demand(reader, "generic.receive.url", "the address that gives messages");
        http_demand(reader, "generic.ack.url", "the address that takes a message out of the queue");
    }
    read_call(reader, generic, "receive", BIT(TEMPLATE_COUNT) | BIT(TEMPLATE_LEASE), &generic->receive);
    for (size_t i = 0; i < 3; i++) {
        struct generic_call *call = (struct generic_call *)((char *)generic + settling[i].call);
        char option[OPTION];

        read_call(reader, generic, settling[i].name, WHICH | settling[i].more, call);
        if (call->method && !reader->refused && !((call->url.uses | call->body.uses) & WHICH))
            http_refuse(reader, option_of(option, settling[i].name, "url"),
                        "names no message: expected {receipt}, {receipts} or {id} in the url or the body");
    }
    read_call(reader, generic, "publish",
              BIT(TEMPLATE_BODY) | BIT(TEMPLATE_BODY_BASE64) | BIT(TEMPLATE_BODY_JSON) |
                  BIT(TEMPLATE_KEY),
              &generic->publish);
    read_call(reader, generic, "check", 0, &generic->check);
    if (generic->publish.method && !reader->refused &&
        !(generic->publish.body.uses &
          (BIT(TEMPLATE_BODY) | BIT(TEMPLATE_BODY_BASE64) | BIT(TEMPLATE_BODY_JSON))))
        http_refuse(reader, "generic.publish.body",
                    "does not carry the payload: expected {body}, {body_base64} or {body_json} in it");
}

/* ---- pointers ---- */

static char *read_pointer(struct http_reader *reader, const char *option)
{
    const char *pointer = http_text(reader, option);

    if (pointer && !json_slice_is_pointer(pointer)) {
        http_refuse(reader, option,
                    "found \"%.80s\", expected a JSON Pointer: empty, or /name, /name/0, with ~1 for / and "
                    "~0 for ~ in names",
                    pointer);
        return NULL;
    }
    return copy(pointer);
}

static void read_pointers(struct http_reader *reader, struct generic *generic)
{
    const char *encoding = http_text(reader, "generic.encoding");

    if (!reader->publishing)
        http_demand(reader, "generic.id", "the JSON Pointer to a message's id within a message, as /id");
    if (!reader->publishing && !http_is_set(reader, "generic.body"))
        http_refuse(reader, "generic.body",
                    "is missing: expected the JSON Pointer to a message's body within a message, as /body");
    generic->list = read_pointer(reader, "generic.list");
    generic->id = read_pointer(reader, "generic.id");
    generic->receipt = read_pointer(reader, "generic.receipt");
    generic->body = read_pointer(reader, "generic.body");
    generic->attempts = read_pointer(reader, "generic.attempts");
    generic->key = read_pointer(reader, "generic.key");
    generic->error = read_pointer(reader, "generic.error");
    generic->new_receipt = read_pointer(reader, "generic.extend.receipt");
    if (!generic->list)
        generic->list = strdup("");
    if (generic->new_receipt && (!generic->extend.method || generic->extend.together))
        http_refuse(reader, "generic.extend.receipt",
                    "goes with a generic.extend.url that extends one message at a time");
    generic->base64 = !strcmp(encoding, "base64");
}

/* ---- the whole ---- */

static bool uses_secret(const struct generic *generic)
{
    const struct generic_call *calls[] = {&generic->receive, &generic->acknowledge, &generic->release,
                                          &generic->extend, &generic->publish, &generic->check};
    unsigned uses = 0;

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        uses |= calls[i]->url.uses | calls[i]->body.uses;
    for (size_t i = 0; i < generic->header_count; i++)
        uses |= generic->headers[i].value.uses;
    return uses & BIT(TEMPLATE_SECRET);
}

static void read_secret(struct http_reader *reader, struct generic *generic)
{
    generic->secret = copy(http_text(reader, "token"));
    if (generic->secret && !uses_secret(generic))
        http_refuse(reader, "token",
                    "is used nowhere: write {secret} where the API wants it, as generic.headers: "
                    "{ Authorization: \"Bearer {secret}\" }");
    if (!generic->secret && uses_secret(generic))
        http_refuse(reader, "token", "is missing: {secret} stands for it");
    if (generic->secret)
        for (const char *at = generic->secret; *at; at++)
            if ((unsigned char)*at < 0x20 || *at == 0x7f) {
                http_refuse(reader, "token", "has a control character or a line end, expected one line");
                return;
            }
}

/* "https://host" of the receiving call, for people: the rest may hold a secret. */
static char *origin_of(const char *url)
{
    const char *host = strstr(url, "://") + 3;

    return strndup(url, (size_t)(host - url) + strcspn(host, "/?#"));
}

struct generic *generic_read(struct http_reader *reader, int64_t lease_us)
{
    struct generic *generic = calloc(1, sizeof *generic);
    const char *name = http_text(reader, "generic.queue");

    if (!generic)
        return NULL;
    if (http_is_set(reader, "url"))
        http_refuse(reader, "url", "is not used by the dialect generic: each call has a url of its own");
    read_headers(reader, generic);
    read_calls(reader, generic);
    read_pointers(reader, generic);
    read_secret(reader, generic);
    generic->lease_s = (lease_us + HTTP_SECOND - 1) / HTTP_SECOND;
    if (!reader->refused) {
        generic->where =
            origin_of((reader->publishing ? &generic->publish : &generic->receive)->url.copy);
        generic->source = copy(name ? name : generic->where);
    }
    if (!reader->refused && generic->where && generic->source)
        return generic;
    generic_free(generic);
    return NULL;
}

static void free_call(struct generic_call *call)
{
    template_free(&call->url);
    template_free(&call->body);
    free(call->content_type);
}

void generic_free(struct generic *generic)
{
    free_call(&generic->receive);
    free_call(&generic->acknowledge);
    free_call(&generic->release);
    free_call(&generic->extend);
    free_call(&generic->publish);
    free_call(&generic->check);
    for (size_t i = 0; i < generic->header_count; i++) {
        free(generic->headers[i].name);
        template_free(&generic->headers[i].value);
    }
    free(generic->list);
    free(generic->id);
    free(generic->receipt);
    free(generic->body);
    free(generic->attempts);
    free(generic->key);
    free(generic->error);
    free(generic->new_receipt);
    if (generic->secret)
        explicit_bzero(generic->secret, strlen(generic->secret));
    free(generic->secret);
    free(generic->source);
    free(generic->where);
    free(generic);
}
