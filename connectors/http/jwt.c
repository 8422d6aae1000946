/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "jwt.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base64.h"

/* A key that is locked by a passphrase is refused; the library would ask at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *cookie)
{
    (void)buffer, (void)size, (void)writing, (void)cookie;
    return -1;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    if (key && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static int problem(char *ret_problem, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int problem(char *ret_problem, size_t room, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(ret_problem, room, format, arguments);
    va_end(arguments);
    return -1;
}

static int read_members(json_t *file, struct jwt_account *account, char *ret_problem, size_t room)
{
    static const char *const names[] = {"type", "client_email", "token_uri", "private_key"};
    const char *values[4], *key_id = json_string_value(json_object_get(file, "private_key_id"));

    for (size_t i = 0; i < 4; i++) {
        values[i] = json_string_value(json_object_get(file, names[i]));
        if (!values[i] || !*values[i])
            return problem(ret_problem, room,
                           "it has no \"%s\"; expected the JSON key file of a service account, as "
                           "Google's console or gcloud iam service-accounts keys create makes it",
                           names[i]);
    }
    if (strcmp(values[0], "service_account") != 0)
        return problem(ret_problem, room,
                       "its type is \"%.40s\", expected \"service_account\": use the key file of a "
                       "service account, not a user's credentials",
                       values[0]);
    if (strncmp(values[2], "https://", 8) != 0 && strncmp(values[2], "http://", 7) != 0)
        return problem(ret_problem, room, "its token_uri is \"%.100s\", expected an https:// address",
                       values[2]);
    account->key = read_key(values[3]);
    if (!account->key)
        return problem(ret_problem, room,
                       "its private_key is no RSA key in PEM without a passphrase; make a new key "
                       "file");
    account->email = strdup(values[1]);
    account->token_uri = strdup(values[2]);
    account->key_id = key_id ? strdup(key_id) : NULL;
    if (!account->email || !account->token_uri || (key_id && !account->key_id))
        return problem(ret_problem, room, "no memory");
    return 0;
}

int jwt_account_read(const char *json, size_t size, struct jwt_account *ret_account, char *ret_problem,
                     size_t room)
{
    struct jwt_account account = {0};
    json_error_t error;
    json_t *file = json_loadb(json, size, 0, &error);
    int status;

    if (!json_is_object(file)) {
        json_decref(file);
        return problem(ret_problem, room,
                       "it is no JSON object; expected the JSON key file of a service account");
    }
    status = read_members(file, &account, ret_problem, room);
    json_decref(file);
    if (status)
        jwt_account_free(&account);
    else
        *ret_account = account;
    return status;
}

void jwt_account_free(struct jwt_account *account)
{
    free(account->email);
    free(account->key_id);
    free(account->token_uri);
    EVP_PKEY_free(account->key);
    *account = (struct jwt_account){0};
}

/* The base64url of a JSON object, which is used up. */
static char *segment(json_t *object)
{
    char *json = object ? json_dumps(object, JSON_COMPACT) : NULL, *text = NULL;

    if (json) {
        size_t size = strlen(json);

        text = malloc(BASE64_ROOM(size));
        if (text)
            base64_encode(json, size, text, 1);
    }
    free(json);
    json_decref(object);
    return text;
}

/* The base64url of the signature of a text. */
static char *sign(EVP_PKEY *key, const char *text)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = (size_t)EVP_PKEY_get_size(key);
    unsigned char *raw = malloc(size);
    char *encoded = NULL;

    if (context && raw && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(context, raw, &size, (const unsigned char *)text, strlen(text)) == 1) {
        encoded = malloc(BASE64_ROOM(size));
        if (encoded)
            base64_encode(raw, size, encoded, 1);
    }
    ERR_clear_error();
    free(raw);
    EVP_MD_CTX_free(context);
    return encoded;
}

char *jwt_assertion(const struct jwt_account *account, const char *scope, int64_t now_s)
{
    char *header = segment(json_pack("{ss ss ss*}", "alg", "RS256", "typ", "JWT", "kid",
                                     account->key_id));
    char *claims = segment(json_pack("{ss ss ss sI sI}", "iss", account->email, "scope", scope, "aud",
                                     account->token_uri, "iat", (json_int_t)now_s, "exp",
                                     (json_int_t)(now_s + JWT_LIFETIME_S)));
    char *text = NULL, *signature = NULL, *whole = NULL;

    if (header && claims && asprintf(&text, "%s.%s", header, claims) < 0)
        text = NULL;
    signature = text ? sign(account->key, text) : NULL;
    if (signature && asprintf(&whole, "%s.%s", text, signature) < 0)
        whole = NULL;
    free(header);
    free(claims);
    free(text);
    free(signature);
    return whole;
}
