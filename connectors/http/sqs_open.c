/* SPDX-License-Identifier: MIT
 * The dialect sqs: options, and where the queue is. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqs.h"

#define LEASE_MOST_S 43200
#define NAME_MOST    80 /* with .fifo */
#define FIFO         ".fifo"

void sqs_close(void *dialect)
{
    struct sqs *sqs = dialect;

    aws_credentials_free(sqs->credentials);
    free(sqs->region);
    free(sqs->account);
    free(sqs->endpoint);
    free(sqs->queue);
    hashes_free(sqs->hashes);
    aws_signer_free(sqs->signer);
    free(sqs->url);
    free(sqs->arn);
    free(sqs->where);
    free(sqs);
}

/* ---- names and addresses ---- */

static bool ends_fifo(const char *name)
{
    size_t size = strlen(name);

    return size > strlen(FIFO) && !strcmp(name + size - strlen(FIFO), FIFO);
}

static bool is_name(const char *name)
{
    size_t size = strlen(name), plain = ends_fifo(name) ? size - strlen(FIFO) : size;

    return size && size <= NAME_MOST &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == plain;
}

/* "eu-central-1", "us-gov-west-1" */
static bool is_region(const char *text, size_t size)
{
    return size >= 5 && size < 40 && islower((unsigned char)text[0]) && memchr(text, '-', size) &&
           isdigit((unsigned char)text[size - 1]) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") >= size;
}

/* The region in a host: sqs.REGION.amazonaws.com, vpce-X.sqs.REGION.vpce.amazonaws.com,
 * REGION.queue.amazonaws.com. NULL: none. */
static char *region_of(const char *url)
{
    const char *host = strstr(url, "://") + 3, *end = host + strcspn(host, ":/"), *before = NULL;
    size_t before_size = 0;

    for (const char *label = host; label < end;) {
        size_t size = strcspn(label, ".:/");
        const char *next = label + size + 1;

        if ((size == 3 && !memcmp(label, "sqs", 3)) || (size == 8 && !memcmp(label, "sqs-fips", 8))) {
            if (next < end && is_region(next, strcspn(next, ".:/")))
                return strndup(next, strcspn(next, ".:/"));
        } else if (size == 5 && !memcmp(label, "queue", 5) && before && is_region(before, before_size)) {
            return strndup(before, before_size);
        }
        before = label;
        before_size = size;
        label = next;
    }
    return NULL;
}

/* The account and the name at the end of a queue's URL; false where it is none. */
static bool split_url(const char *url, const char **ret_account, size_t *ret_account_size,
                      const char **ret_name)
{
    const char *path = strstr(url, "://"), *name;

    path = path ? strchr(path + 3, '/') : NULL;
    name = path ? strrchr(path, '/') + 1 : NULL;
    if (!name || !is_name(name))
        return false;
    *ret_name = name;
    *ret_account = NULL;
    *ret_account_size = 0;
    if (name - 1 > path) {
        const char *account = name - 1;

        while (account > path && account[-1] != '/')
            account--;
        *ret_account = account;
        *ret_account_size = (size_t)(name - 1 - account);
    }
    return true;
}

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *text_of(const char *format, ...)
{
    va_list arguments;
    char *text;
    int size;

    va_start(arguments, format);
    size = vasprintf(&text, format, arguments);
    va_end(arguments);
    return size < 0 ? NULL : text;
}

int sqs_use_url(struct sqs *sqs, char *url)
{
    const char *account, *name, *partition = !strncmp(sqs->region, "cn-", 3)       ? "aws-cn"
                                             : !strncmp(sqs->region, "us-gov-", 7) ? "aws-us-gov"
                                                                                   : "aws";
    size_t account_size;
    char *arn;

    if (!url || !split_url(url, &account, &account_size, &name)) {
        free(url);
        return -1;
    }
    arn = text_of("arn:%s:sqs:%s:%.*s:%s", partition, sqs->region, (int)account_size,
                  account ? account : "", name);
    if (!arn) {
        free(url);
        return -1;
    }
    free(sqs->arn);
    free(sqs->url);
    sqs->arn = arn;
    sqs->url = url;
    return 0;
}

/* ---- options ---- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* From the queue's URL, the option, or what AWS's tools look at. */
static void read_region(struct http_reader *reader, struct sqs *sqs, const char *url)
{
    const char *given = http_text(reader, "sqs.region");

    sqs->region = url ? region_of(url) : NULL;
    if (sqs->region && given && strcmp(given, sqs->region) != 0)
        http_refuse(reader, "sqs.region", "found %.40s, but the queue's URL is in %s: take one out", given,
                    sqs->region);
    if (given && !is_region(given, strlen(given)) && strcmp(given, "elasticmq") != 0)
        http_refuse(reader, "sqs.region", "found \"%.40s\", expected a region such as eu-central-1", given);
    if (!sqs->region)
        sqs->region = given ? strdup(given) : aws_credentials_region(sqs->credentials);
    if (!sqs->region && !aws_credentials_keys(sqs->credentials))
        sqs->region = strdup("us-east-1");
    if (!sqs->region)
        http_refuse(reader, "sqs.region",
                    "is missing, and neither the queue, AWS_REGION nor the profile names one: expected a "
                    "region such as eu-central-1");
}

static void read_endpoint(struct http_reader *reader, struct sqs *sqs, const char *queue_url)
{
    const char *url = http_text(reader, "url");

    if (url)
        http_check_url(reader, "url", url);
    if (!url)
        url = environment("AWS_ENDPOINT_URL_SQS");
    if (!url)
        url = environment("AWS_ENDPOINT_URL");
    if (url)
        sqs->endpoint = text_of("%s/", url);
    else if (queue_url)
        sqs->endpoint = text_of("%.*s/", (int)(strstr(queue_url, "://") + 3 - queue_url +
                                               (int)strcspn(strstr(queue_url, "://") + 3, "/")),
                                queue_url);
    else if (sqs->region)
        sqs->endpoint = text_of("https://sqs.%s.amazonaws.com%s/", sqs->region,
                                strncmp(sqs->region, "cn-", 3) ? "" : ".cn");
}

/* `sqs.queue` is a URL, or a name. The URL, if it is one. */
static const char *read_queue(struct http_reader *reader, struct sqs *sqs)
{
    const char *queue = http_demand(reader, "sqs.queue", "the queue's name or URL"), *name, *account;
    size_t account_size;
    bool is_url = queue && strstr(queue, "://");

    if (!queue)
        return NULL;
    name = queue;
    if (is_url && !http_check_url(reader, "sqs.queue", queue))
        return NULL;
    if (is_url ? !split_url(queue, &account, &account_size, &name) : !is_name(queue)) {
        http_refuse(reader, "sqs.queue",
                    "found \"%.150s\", expected a name of letters, digits, - and _, at most 80 (with .fifo "
                    "at its end for a FIFO queue), or the queue's URL",
                    queue);
        return NULL;
    }
    if (is_url && http_is_set(reader, "sqs.account"))
        http_refuse(reader, "sqs.account", "is in the queue's URL already: take one out");
    sqs->queue = strdup(name);
    sqs->is_fifo = ends_fifo(name);
    return is_url ? queue : NULL;
}

static void read_account(struct http_reader *reader, struct sqs *sqs)
{
    const char *account = http_text(reader, "sqs.account");

    if (account && (strlen(account) != 12 || strspn(account, "0123456789") != 12))
        http_refuse(reader, "sqs.account", "found \"%.40s\", expected the 12 digits of an AWS account",
                    account);
    sqs->account = account ? strdup(account) : NULL;
}

static void read_options(struct http_reader *reader, struct sqs *sqs)
{
    const char *url = read_queue(reader, sqs);

    sqs->wait_s = (http_number(reader, "sqs.wait") + HTTP_SECOND - 1) / HTTP_SECOND;
    read_account(reader, sqs);
    sqs->credentials = aws_credentials_open(reader);
    if (!sqs->credentials)
        return;
    read_region(reader, sqs, url);
    read_endpoint(reader, sqs, url);
    if (reader->refused || !sqs->region || !sqs->endpoint || !sqs->queue)
        return;
    aws_credentials_use_region(sqs->credentials, sqs->region);
    if (url && sqs_use_url(sqs, strdup(url)))
        reader->refused = true; /* no memory */
    sqs->where = url ? strdup(url) : text_of("%s%s", sqs->endpoint, sqs->queue);
}

void *sqs_open(struct http_reader *reader, int64_t lease_us, struct http_abilities *ret_abilities)
{
    struct sqs *sqs = calloc(1, sizeof *sqs);

    if (!sqs)
        return NULL;
    sqs->lease_s = (lease_us + HTTP_SECOND - 1) / HTTP_SECOND;
    sqs->hashes = hashes_new();
    sqs->signer = aws_signer_new();
    read_options(reader, sqs);
    if (reader->refused || !sqs->where || !sqs->hashes || !sqs->signer) {
        sqs_close(sqs);
        return NULL;
    }
    *ret_abilities = (struct http_abilities){
        .source = sqs->queue,
        .where = sqs->where,
        .receive_most = SQS_BATCH,
        .settle_most = SQS_BATCH,
        .lease_most_us = LEASE_MOST_S * HTTP_SECOND,
        .delay_most_us = LEASE_MOST_S * HTTP_SECOND,
        .wait_us = sqs->wait_s * HTTP_SECOND,
        .extends = true,
        .releases = true,
        .publishes = true,
    };
    return sqs;
}
