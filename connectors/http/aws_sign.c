/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "aws_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

#include "hashes.h"

#define DIGEST       HASHES_SHA256
#define HEX          HASHES_SHA256_HEX
#define HEADERS_MOST 32
#define TEXT_MOST    ((size_t)1 << 20) /* a canonical request; a query is the largest part of it */
#define ALGORITHM    "AWS4-HMAC-SHA256"

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void aws_keys_wipe(struct aws_keys *keys)
{
    wipe(&keys->id);
    wipe(&keys->secret);
    wipe(&keys->session);
}

int aws_keys_copy(struct aws_keys *ret, const char *id, const char *secret, const char *session)
{
    *ret = (struct aws_keys){strdup(id), strdup(secret), session ? strdup(session) : NULL};
    if (ret->id && ret->secret && (ret->session || !session))
        return 0;
    aws_keys_wipe(ret);
    return -1;
}

/* ---- texts that grow ---- */

struct text {
    char *data;
    size_t size, room;
    bool failed;
};

static void put(struct text *text, const char *data, size_t size)
{
    if (text->room - text->size < size) {
        size_t room = 2 * (text->size + size) + 256;
        char *larger = room <= TEXT_MOST ? malloc(room) : NULL;

        if (!larger) {
            text->failed = true;
            return;
        }
        if (text->size)
            memcpy(larger, text->data, text->size);
        if (text->data)
            explicit_bzero(text->data, text->size); /* a session's token may be in it */
        free(text->data);
        text->data = larger;
        text->room = room;
    }
    memcpy(text->data + text->size, data, size);
    text->size += size;
}

static void put_char(struct text *text, char c)
{
    put(text, &c, 1);
}

static void put_text(struct text *text, const char *data)
{
    put(text, data, strlen(data));
}

static void text_reset(struct text *text)
{
    if (text->data)
        explicit_bzero(text->data, text->size);
    text->size = 0;
    text->failed = false;
}

static void text_fini(struct text *text)
{
    text_reset(text);
    free(text->data);
}

/* ---- what is kept between signatures ---- */

struct aws_signer {
    struct hashes *hashes;
    struct text canonical, names, scope;
    int64_t stamp_s; /* the time that `stamp` tells */
    char stamp[20], date[12];
    char *secret, *key_scope; /* what the key of `hashes` was made of; NULL: there is none */
};

struct aws_signer *aws_signer_new(void)
{
    struct aws_signer *signer = calloc(1, sizeof *signer);

    if (signer && !(signer->hashes = hashes_new())) {
        free(signer);
        return NULL;
    }
    return signer;
}

static void forget_key(struct aws_signer *signer)
{
    wipe(&signer->secret);
    wipe(&signer->key_scope);
}

void aws_signer_free(struct aws_signer *signer)
{
    if (!signer)
        return;
    forget_key(signer);
    hashes_free(signer->hashes);
    text_fini(&signer->canonical);
    text_fini(&signer->names);
    text_fini(&signer->scope);
    free(signer);
}

/* ---- the canonical request ---- */

/* A URL's parts; they point into it. */
struct url {
    const char *host, *path, *query;
    size_t host_size, path_size, query_size;
};

static struct url split_url(const char *text)
{
    const char *scheme_end = strstr(text, "://");
    struct url url = {.host = scheme_end ? scheme_end + 3 : text};
    size_t port = strncmp(text, "https:", 6) ? 80 : 443;
    const char *colon;

    url.host_size = strcspn(url.host, "/?#");
    url.path = url.host + url.host_size;
    url.path_size = strcspn(url.path, "?#");
    if (url.path[url.path_size] == '?') {
        url.query = url.path + url.path_size + 1;
        url.query_size = strcspn(url.query, "#");
    }
    /* The default port is not in the header Host. */
    colon = memrchr(url.host, ':', url.host_size);
    if (colon && strspn(colon + 1, "0123456789") == url.host_size - (size_t)(colon + 1 - url.host) &&
        strtoul(colon + 1, NULL, 10) == port)
        url.host_size = (size_t)(colon - url.host);
    return url;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~", c));
}

static void put_encoded(struct text *out, const char *text, size_t size, const char *kept)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if (is_unreserved(text[i]) || (c && strchr(kept, c)))
            put_char(out, text[i]);
        else
            put(out, (const char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
    }
}

/* Without `.`, `..` and double slashes, and encoded once more. */
static void put_path(struct text *out, const char *path, size_t size)
{
    const char *parts[64];
    size_t sizes[64], count = 0;

    for (size_t at = 0; at < size; at++) {
        size_t part = 0;

        while (at + part < size && path[at + part] != '/')
            part++;
        if (part == 2 && !memcmp(path + at, "..", 2))
            count -= count > 0;
        else if (part && !(part == 1 && path[at] == '.') && count < 64) {
            parts[count] = path + at;
            sizes[count++] = part;
        }
        at += part;
    }
    for (size_t i = 0; i < count; i++) {
        put_char(out, '/');
        put_encoded(out, parts[i], sizes[i], "");
    }
    if (!count || path[size - 1] == '/')
        put_char(out, '/');
}

struct pair {
    const char *name, *value;
    size_t name_size, value_size;
};

static int compare_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_parameters(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    int order = compare_bytes(a->name, a->name_size, b->name, b->name_size);

    return order ? order : compare_bytes(a->value, a->value_size, b->value, b->value_size);
}

static void put_query(struct text *out, const char *query, size_t size)
{
    struct pair pairs[HEADERS_MOST];
    size_t count = 0;

    for (size_t at = 0; at < size && count < HEADERS_MOST; at++) {
        const char *name = query + at, *end = memchr(name, '&', size - at), *equals;

        end = end ? end : query + size;
        equals = memchr(name, '=', (size_t)(end - name));
        equals = equals ? equals : end;
        if (end > name)
            pairs[count++] = (struct pair){name, equals < end ? equals + 1 : end, (size_t)(equals - name),
                                           equals < end ? (size_t)(end - equals - 1) : 0};
        at = (size_t)(end - query);
    }
    qsort(pairs, count, sizeof *pairs, compare_parameters);
    for (size_t i = 0; i < count; i++) {
        if (i)
            put_char(out, '&');
        put_encoded(out, pairs[i].name, pairs[i].name_size, "%");
        put_char(out, '=');
        put_encoded(out, pairs[i].value, pairs[i].value_size, "%");
    }
}

/* ---- headers ---- */

static int compare_headers(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = strncasecmp(a->name, b->name, size);

    if (!order)
        order = (a->name_size > b->name_size) - (a->name_size < b->name_size);
    return order ? order : (a->value_size > b->value_size) - (a->value_size < b->value_size);
}

/* Blanks at both ends go, those between words become one. */
static void put_value(struct text *out, const char *value)
{
    for (bool first = true; *(value += strspn(value, " \t")); first = false) {
        size_t word = strcspn(value, " \t");

        if (!first)
            put_char(out, ' ');
        put(out, value, word);
        value += word;
    }
}

static void put_lower(struct text *out, const struct pair *header)
{
    size_t at = out->size;

    put(out, header->name, header->name_size);
    for (; at < out->size; at++)
        out->data[at] = (char)(out->data[at] >= 'A' && out->data[at] <= 'Z' ? out->data[at] - 'A' + 'a' : out->data[at]);
}

static bool is_same(const struct pair *a, const struct pair *b)
{
    return a->name_size == b->name_size && !strncasecmp(a->name, b->name, a->name_size);
}

/* The headers sorted by name, those of one name as they were: `value_size` is their number before. 0: too
 * many. */
static size_t sort_headers(const struct http_request *request, const char *host, struct pair *ret)
{
    size_t count = 0;

    ret[count++] = (struct pair){"host", host, 4, 0};
    for (const struct curl_slist *line = request->headers; line; line = line->next, count++) {
        const char *colon = strchr(line->data, ':');

        if (count == HEADERS_MOST || !colon)
            return 0;
        ret[count] = (struct pair){line->data, colon + 1, (size_t)(colon - line->data), count};
    }
    qsort(ret, count, sizeof *ret, compare_headers);
    return count;
}

/* Each name once, with `;` between. */
static void put_names(struct text *out, const struct pair *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i && is_same(&headers[i - 1], &headers[i]))
            continue;
        if (i)
            put_char(out, ';');
        put_lower(out, &headers[i]);
    }
}

static void put_headers(struct text *out, const struct pair *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i && is_same(&headers[i - 1], &headers[i])) {
            put_char(out, ',');
        } else {
            if (i)
                put_char(out, '\n');
            put_lower(out, &headers[i]);
            put_char(out, ':');
        }
        put_value(out, headers[i].value);
    }
    put_char(out, '\n');
}

/* The hash of the canonical request; leaves the names of what is signed in the signer. */
static int canonical_hash(struct aws_signer *signer, const struct http_request *request, char ret_hash[HEX])
{
    struct url url = split_url(request->url);
    struct text *out = &signer->canonical, *names = &signer->names;
    char *host = strndup(url.host, url.host_size), body[HEX];
    struct pair headers[HEADERS_MOST];
    size_t count = host ? sort_headers(request, host, headers) : 0;
    int status = -1;

    text_reset(out);
    text_reset(names);
    if (count && !hashes_sha256(signer->hashes, request->body, request->body_size, body)) {
        put_names(names, headers, count);
        put_text(out, request->method);
        put_char(out, '\n');
        put_path(out, url.path, url.path_size);
        put_char(out, '\n');
        put_query(out, url.query, url.query_size);
        put_char(out, '\n');
        put_headers(out, headers, count);
        put_char(out, '\n');
        put(out, names->data, names->size);
        put_char(out, '\n');
        put_text(out, body);
        status = out->failed || names->failed ? -1
                                              : hashes_sha256(signer->hashes, out->data, out->size, ret_hash);
    }
    text_reset(out);
    free(host);
    return status;
}

/* ---- the signature ---- */

static int use_time(struct aws_signer *signer, int64_t now_s)
{
    time_t now = (time_t)now_s;
    struct tm parts;

    if (signer->stamp_s == now_s && *signer->stamp)
        return 0;
    if (!gmtime_r(&now, &parts))
        return -1;
    strftime(signer->stamp, sizeof signer->stamp, "%Y%m%dT%H%M%SZ", &parts);
    strftime(signer->date, sizeof signer->date, "%Y%m%d", &parts);
    signer->stamp_s = now_s;
    return 0;
}

static int chain(struct aws_signer *signer, unsigned char key[DIGEST], const char *text)
{
    return hashes_hmac(signer->hashes, key, DIGEST, text, strlen(text), key);
}

/* The key of the day, which it keeps until day, region, service or secret are others. */
static int use_key(struct aws_signer *signer, const char *secret, const char *region, const char *service)
{
    struct text *scope = &signer->scope;
    unsigned char key[DIGEST];
    char *seed;
    int status = -1;

    text_reset(scope);
    put_text(scope, signer->date);
    put_char(scope, '/');
    put_text(scope, region);
    put_char(scope, '/');
    put_text(scope, service);
    put(scope, "/aws4_request", sizeof "/aws4_request");
    if (scope->failed)
        return -1;
    if (signer->key_scope && !strcmp(signer->key_scope, scope->data) && !strcmp(signer->secret, secret))
        return 0;
    forget_key(signer);
    if (asprintf(&seed, "AWS4%s", secret) < 0)
        return -1;
    if (!hashes_hmac(signer->hashes, seed, strlen(seed), signer->date, strlen(signer->date), key) &&
        !chain(signer, key, region) && !chain(signer, key, service) && !chain(signer, key, "aws4_request") &&
        /* From now on it is the key that is kept. */
        !hashes_hmac(signer->hashes, key, DIGEST, "", 0, (unsigned char[DIGEST]){0})) {
        signer->secret = strdup(secret);
        signer->key_scope = strdup(scope->data);
        status = signer->secret && signer->key_scope ? 0 : -1;
    }
    if (status)
        forget_key(signer);
    explicit_bzero(seed, strlen(seed));
    explicit_bzero(key, sizeof key);
    free(seed);
    return status;
}

int aws_sign(struct aws_signer *signer, struct http_request *request, const struct aws_keys *keys,
             const char *region, const char *service, int64_t now_s)
{
    struct text *text = &signer->canonical;
    unsigned char digest[DIGEST];
    char canonical[HEX], signature[HEX];

    if (use_time(signer, now_s) || use_key(signer, keys->secret, region, service) ||
        http_request_header(request, "X-Amz-Date: %s", signer->stamp) ||
        (keys->session && http_request_header(request, "X-Amz-Security-Token: %s", keys->session)) ||
        canonical_hash(signer, request, canonical))
        return -1;
    put_text(text, ALGORITHM "\n");
    put_text(text, signer->stamp);
    put_char(text, '\n');
    put_text(text, signer->key_scope);
    put_char(text, '\n');
    put_text(text, canonical);
    if (text->failed || hashes_hmac(signer->hashes, NULL, 0, text->data, text->size, digest))
        return -1;
    hashes_hex(digest, sizeof digest, signature);
    return http_request_header(request,
                               "Authorization: " ALGORITHM " Credential=%s/%s, SignedHeaders=%.*s, Signature=%s",
                               keys->id, signer->key_scope, (int)signer->names.size, signer->names.data, signature);
}
