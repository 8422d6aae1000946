/* SPDX-License-Identifier: MIT
 * OAUTHBEARER tokens from an OIDC endpoint (client credentials grant, RFC 6749 section 4.4), fetched
 * on a thread of their own: Debian's librdkafka is built without it. */
#include "kafka.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MOST  65536
#define TIMEOUT_S    10L
#define LIFE_DEFAULT 300

struct kafka_fetch {
    char *url, *client, *secret, *scope, *ca_file; /* own: a fetch may outlive its instance */
    pthread_t thread;
    bool running;
    atomic_bool done;
    rd_kafka_t *rk;
};

struct answer {
    size_t size;
    char data[ANSWER_MOST];
};

static size_t collect(char *data, size_t size, size_t count, void *argument)
{
    struct answer *answer = argument;

    if (count > sizeof answer->data - answer->size)
        return 0;
    memcpy(answer->data + answer->size, data, size * count);
    answer->size += count;
    return size * count;
}

static char *request_body(CURL *curl, const struct kafka_fetch *fetch)
{
    char *scope = fetch->scope ? curl_easy_escape(curl, fetch->scope, 0) : NULL;
    size_t size = 64 + (scope ? strlen(scope) : 0);
    char *body = malloc(size);

    snprintf(body, size, "grant_type=client_credentials%s%s", scope ? "&scope=" : "",
             scope ? scope : "");
    curl_free(scope);
    return body;
}

static long request(const struct kafka_fetch *fetch, struct answer *answer, char *error)
{
    CURL *curl = curl_easy_init();
    char *body = request_body(curl, fetch);
    long status = 0;
    CURLcode failed;

    curl_easy_setopt(curl, CURLOPT_URL, fetch->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_USERNAME, fetch->client);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, fetch->secret);
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (fetch->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, fetch->ca_file);
    failed = curl_easy_perform(curl);
    if (failed)
        snprintf(error, KAFKA_TEXT, "%s: %s", fetch->url, curl_easy_strerror(failed));
    else
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    free(body);
    curl_easy_cleanup(curl);
    return status;
}

/* The principal is what the token says; librdkafka only wants one that is not empty. */
static rd_kafka_resp_err_t use_token(struct kafka_fetch *fetch, json_t *root, char *error)
{
    const char *token = json_string_value(json_object_get(root, "access_token"));
    json_t *life = json_object_get(root, "expires_in");
    int64_t seconds = json_is_integer(life) ? json_integer_value(life) : LIFE_DEFAULT;

    if (!token) {
        snprintf(error, KAFKA_TEXT, "%s: the answer has no access_token", fetch->url);
        return RD_KAFKA_RESP_ERR__FAIL;
    }
    return rd_kafka_oauthbearer_set_token(fetch->rk, token, (int64_t)(time(NULL) + seconds) * 1000,
                                          fetch->client, NULL, 0, error, KAFKA_TEXT);
}

static void *get_token(void *argument)
{
    struct kafka_fetch *fetch = argument;
    struct answer *answer = calloc(1, sizeof *answer);
    char error[KAFKA_TEXT] = "";
    long status = request(fetch, answer, error);
    json_t *root = status == 200 ? json_loadb(answer->data, answer->size, 0, NULL) : NULL;

    if (status && status != 200)
        snprintf(error, sizeof error, "%s answers %ld: check sasl.oauth", fetch->url, status);
    else if (status == 200 && !root)
        snprintf(error, sizeof error, "%s: the answer is not JSON", fetch->url);
    if (!root || use_token(fetch, root, error)) {
        /* The event comes again after the failure: librdkafka asks every 10 s. */
        rd_kafka_oauthbearer_set_token_failure(fetch->rk, error);
    }
    json_decref(root);
    free(answer);
    atomic_store(&fetch->done, true);
    return NULL;
}

static char *copy_option(struct kafka *kafka, const char *name)
{
    const char *text = kafka->api->values->text(kafka->values, name);

    return text ? strdup(text) : NULL;
}

void kafka_fetch_free(struct kafka_fetch *fetch)
{
    if (!fetch)
        return;
    if (fetch->running)
        pthread_join(fetch->thread, NULL);
    free(fetch->url);
    free(fetch->client);
    free(fetch->secret);
    free(fetch->scope);
    free(fetch->ca_file);
    free(fetch);
}

void kafka_oauth_refresh(struct kafka *kafka, rd_kafka_t *rk, struct kafka_fetch **slot)
{
    struct kafka_fetch *fetch;

    if (*slot && (*slot)->running && !atomic_load(&(*slot)->done))
        return;
    kafka_fetch_free(*slot);
    *slot = fetch = calloc(1, sizeof *fetch);
    fetch->rk = rk;
    fetch->url = copy_option(kafka, "sasl.oauth.token_url");
    fetch->client = copy_option(kafka, "sasl.oauth.client_id");
    fetch->secret = copy_option(kafka, "sasl.oauth.client_secret");
    fetch->scope = copy_option(kafka, "sasl.oauth.scope");
    fetch->ca_file = copy_option(kafka, "tls.ca_file");
    if (!fetch->url)
        return;
    fetch->running = !pthread_create(&fetch->thread, NULL, get_token, fetch);
    if (!fetch->running)
        rd_kafka_oauthbearer_set_token_failure(rk, "cannot start a thread");
}
