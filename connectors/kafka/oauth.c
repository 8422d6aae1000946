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

struct kafka_oauth {
    struct kafka *kafka;
    const char *url, *client, *secret, *scope, *ca_file;
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

static char *request_body(CURL *curl, const struct kafka_oauth *oauth)
{
    char *scope = oauth->scope ? curl_easy_escape(curl, oauth->scope, 0) : NULL;
    size_t size = 64 + (scope ? strlen(scope) : 0);
    char *body = malloc(size);

    snprintf(body, size, "grant_type=client_credentials%s%s", scope ? "&scope=" : "",
             scope ? scope : "");
    curl_free(scope);
    return body;
}

static long request(const struct kafka_oauth *oauth, struct answer *answer, char *error)
{
    CURL *curl = curl_easy_init();
    char *body = request_body(curl, oauth);
    long status = 0;
    CURLcode failed;

    curl_easy_setopt(curl, CURLOPT_URL, oauth->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_USERNAME, oauth->client);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, oauth->secret);
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (oauth->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, oauth->ca_file);
    failed = curl_easy_perform(curl);
    if (failed)
        snprintf(error, KAFKA_TEXT, "%s: %s", oauth->url, curl_easy_strerror(failed));
    else
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    free(body);
    curl_easy_cleanup(curl);
    return status;
}

/* The principal is what the token says; librdkafka only wants one that is not empty. */
static rd_kafka_resp_err_t use_token(struct kafka_oauth *oauth, json_t *root, char *error)
{
    const char *token = json_string_value(json_object_get(root, "access_token"));
    json_t *life = json_object_get(root, "expires_in");
    int64_t seconds = json_is_integer(life) ? json_integer_value(life) : LIFE_DEFAULT;

    if (!token) {
        snprintf(error, KAFKA_TEXT, "%s: the answer has no access_token", oauth->url);
        return RD_KAFKA_RESP_ERR__FAIL;
    }
    return rd_kafka_oauthbearer_set_token(oauth->rk, token, (int64_t)(time(NULL) + seconds) * 1000,
                                          oauth->client, NULL, 0, error, KAFKA_TEXT);
}

static void *fetch(void *argument)
{
    struct kafka_oauth *oauth = argument;
    struct answer *answer = calloc(1, sizeof *answer);
    char error[KAFKA_TEXT] = "";
    long status = request(oauth, answer, error);
    json_t *root = status == 200 ? json_loadb(answer->data, answer->size, 0, NULL) : NULL;

    if (status && status != 200)
        snprintf(error, sizeof error, "%s answers %ld: check sasl.oauth", oauth->url, status);
    else if (status == 200 && !root)
        snprintf(error, sizeof error, "%s: the answer is not JSON", oauth->url);
    if (!root || use_token(oauth, root, error)) {
        /* The event comes again after the failure: librdkafka asks every 10 s. */
        rd_kafka_oauthbearer_set_token_failure(oauth->rk, error);
    }
    json_decref(root);
    free(answer);
    atomic_store(&oauth->done, true);
    return NULL;
}

void kafka_oauth_wait(struct kafka *kafka)
{
    struct kafka_oauth *oauth = kafka->oauth;

    if (!oauth)
        return;
    if (oauth->running)
        pthread_join(oauth->thread, NULL);
    oauth->running = false;
}

int kafka_oauth_open(struct kafka *kafka)
{
    const struct sluice_values_api *values = kafka->api->values;
    struct kafka_oauth *oauth;

    if (!values->text(kafka->values, "sasl.oauth.token_url"))
        return 0;
    oauth = kafka->oauth = calloc(1, sizeof *oauth);
    oauth->kafka = kafka;
    oauth->url = values->text(kafka->values, "sasl.oauth.token_url");
    oauth->client = values->text(kafka->values, "sasl.oauth.client_id");
    oauth->secret = values->text(kafka->values, "sasl.oauth.client_secret");
    oauth->scope = values->text(kafka->values, "sasl.oauth.scope");
    oauth->ca_file = values->text(kafka->values, "tls.ca_file");
    return 0;
}

void kafka_oauth_refresh(struct kafka *kafka, rd_kafka_t *rk)
{
    struct kafka_oauth *oauth = kafka->oauth;

    if (!oauth)
        return;
    kafka_oauth_wait(kafka);
    oauth->rk = rk;
    atomic_store(&oauth->done, false);
    if (pthread_create(&oauth->thread, NULL, fetch, oauth))
        rd_kafka_oauthbearer_set_token_failure(rk, "cannot start a thread");
    else
        oauth->running = true;
}

void kafka_oauth_close(struct kafka *kafka)
{
    if (!kafka->oauth)
        return;
    kafka_oauth_wait(kafka);
    free(kafka->oauth);
    kafka->oauth = NULL;
}
