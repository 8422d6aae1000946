/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "pubsub_token.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "json_read.h"
#include "jwt.h"

#define SCOPE         "https://www.googleapis.com/auth/pubsub"
#define GRANT         "urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer" /* for printf */
#define METADATA_HOST "GCE_METADATA_HOST" /* as Google's own libraries have it */
#define METADATA      "metadata.google.internal"
#define METADATA_PATH "/computeMetadata/v1/instance/service-accounts/default/token"
#define EARLY_S       60 /* a new token is asked for this long before the old one ends */
#define TOKEN_MOST    8192

enum source { NONE, ACCOUNT, METADATA_SERVER };

struct pubsub_token {
    enum source source;
    struct jwt_account account;
    char *text;
    int64_t ends_s;
};

void pubsub_token_forget(struct pubsub_token *token)
{
    if (token->text)
        explicit_bzero(token->text, strlen(token->text));
    free(token->text);
    token->text = NULL;
}

void pubsub_token_free(struct pubsub_token *token)
{
    if (!token)
        return;
    pubsub_token_forget(token);
    jwt_account_free(&token->account);
    free(token);
}

static void read_key(struct http_reader *reader, struct pubsub_token *token)
{
    const char *key = http_demand(reader, "pubsub.key",
                                  "the content of a service account's JSON key file, by !file PATH or "
                                  "!credential NAME");
    char problem[HTTP_TEXT / 2];

    if (key && jwt_account_read(key, strlen(key), &token->account, problem, sizeof problem))
        http_refuse(reader, "pubsub.key", "cannot be used: %s", problem);
}

struct pubsub_token *pubsub_token_open(struct http_reader *reader, bool emulator)
{
    const char *source = http_text(reader, "pubsub.authentication");
    struct pubsub_token *token = calloc(1, sizeof *token);

    if (!token)
        return NULL;
    if (!source)
        source = emulator ? "none" : http_is_set(reader, "pubsub.key") ? "key" : "metadata";
    token->source = !strcmp(source, "none") ? NONE : !strcmp(source, "key") ? ACCOUNT : METADATA_SERVER;
    if (token->source == ACCOUNT)
        read_key(reader, token);
    else if (http_is_set(reader, "pubsub.key"))
        http_refuse(reader, "pubsub.key", "is not used where pubsub.authentication is %s: take one out",
                    source);
    if (!reader->refused)
        return token;
    pubsub_token_free(token);
    return NULL;
}

/* ---- asking ---- */

static int ask_account(struct pubsub_token *token, int64_t now_s, struct http_request *ret_request)
{
    char *assertion = jwt_assertion(&token->account, SCOPE, now_s);
    struct http_request body = {0}; /* for its formatting */

    /* All that needs encoding in a form is in the grant; a JWT has letters, digits, - _ and points. */
    if (!assertion || http_request_url(&body, "grant_type=" GRANT "&assertion=%s", assertion)) {
        free(assertion);
        return -1;
    }
    free(assertion);
    ret_request->method = "POST";
    ret_request->body = body.url;
    ret_request->body_size = strlen(body.url);
    return http_request_url(ret_request, "%s", token->account.token_uri) ||
                   http_request_header(ret_request, "Content-Type: application/x-www-form-urlencoded")
               ? -1
               : 0;
}

static int ask_metadata(struct http_request *ret_request)
{
    const char *host = getenv(METADATA_HOST);

    ret_request->method = "GET";
    ret_request->direct = true;
    return http_request_url(ret_request, "http://%s" METADATA_PATH, host && *host ? host : METADATA) ||
                   http_request_header(ret_request, "Metadata-Flavor: Google")
               ? -1
               : 0;
}

int pubsub_token_ask(struct pubsub_token *token, int64_t now_s, struct http_request *ret_request,
                     struct http_fault *fault)
{
    int status;

    if (token->source == NONE || (token->text && now_s < token->ends_s))
        return 0;
    status = token->source == ACCOUNT ? ask_account(token, now_s, ret_request)
                                      : ask_metadata(ret_request);
    return status ? http_fault(fault, SLUICE_STATE_FAILED, "cannot sign a request for a token") : 1;
}

int pubsub_token_take(struct pubsub_token *token, const struct http_answer *answer, int64_t now_s,
                      struct http_fault *fault)
{
    const char *where = token->source == ACCOUNT ? token->account.token_uri : "the metadata server";
    json_t *root = json_read(answer), *text = json_object_get(root, "access_token");
    json_int_t lifetime_s = json_integer_value(json_object_get(root, "expires_in"));
    const char *error = json_string_value(json_object_get(root, "error"));
    const char *description = json_string_value(json_object_get(root, "error_description"));
    int status = 0;

    if (answer->status / 100 != 2)
        status = http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                            "%.200s gives no token but answers %ld%s%.100s%s%.150s: check the key and that "
                            "the service account is enabled%s",
                            where, answer->status, error ? ", " : "", error ? error : "",
                            description ? ": " : "", description ? description : "",
                            token->source == ACCOUNT ? ", and the clock" : "");
    else if (!json_is_string(text) || lifetime_s <= 0 || json_string_length(text) > TOKEN_MOST ||
             strcspn(json_string_value(text), "\r\n\t ") != json_string_length(text))
        status = http_fault(fault, SLUICE_STATE_FAILED,
                            "%.200s answers something else than a token (the answer is not shown), expected "
                            "JSON with access_token and expires_in",
                            where);
    if (!status) {
        pubsub_token_forget(token);
        token->text = strdup(json_string_value(text));
        token->ends_s = now_s + (lifetime_s > 2 * EARLY_S ? lifetime_s - EARLY_S : lifetime_s / 2 + 1);
        if (!token->text)
            status = http_fault(fault, SLUICE_STATE_FAILED, "no memory for a token");
    }
    json_decref(root);
    return status;
}

int pubsub_token_sign(struct pubsub_token *token, struct http_request *request)
{
    return token->source == NONE ? 0
                                 : http_request_header(request, "Authorization: Bearer %s", token->text);
}
