/* SPDX-License-Identifier: MIT
 * Google's service accounts: the key file, and the assertion that is exchanged for a token
 * (developers.google.com/identity/protocols/oauth2/service-account, RFC 7523). */
#ifndef HTTP_JWT_H
#define HTTP_JWT_H

#include <stddef.h>
#include <stdint.h>

struct jwt_account {
    char *email, *key_id, *token_uri; /* `key_id` may be NULL */
    void *key; /* the private key, libcrypto's */
};

#define JWT_LIFETIME_S 3600 /* the longest that Google takes */

/* Reads what the key file holds. 0; -1 with a text that says what was found and expected, without
 * anything secret, and nothing to be freed. */
int jwt_account_read(const char *json, size_t size, struct jwt_account *ret_account, char *ret_problem,
                     size_t room);

void jwt_account_free(struct jwt_account *account);

/* A JWT that asks for `scope`, signed by RS256, valid from `now_s` (seconds since the Unix epoch) for
 * JWT_LIFETIME_S; the caller frees it. NULL: no memory, or the library refused. */
char *jwt_assertion(const struct jwt_account *account, const char *scope, int64_t now_s);

#endif
