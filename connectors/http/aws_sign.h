/* SPDX-License-Identifier: MIT
 * Signature version 4 of AWS (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html). */
#ifndef AWS_SIGN_H
#define AWS_SIGN_H

#include "dialect.h"

/* `session` is NULL where the keys last. */
struct aws_keys {
    char *id, *secret, *session;
};

/* Forgets them, leaving no trace. */
void aws_keys_wipe(struct aws_keys *keys);
/* `session` may be NULL. -1: no memory. */
int aws_keys_copy(struct aws_keys *ret, const char *id, const char *secret, const char *session);

/* What signatures of one day with one key have in common. Of one thread. */
struct aws_signer;

struct aws_signer *aws_signer_new(void); /* NULL: no memory */
void aws_signer_free(struct aws_signer *signer);

/* Signs a request as it is, headers and body: adds X-Amz-Date, X-Amz-Security-Token where the keys have a
 * session, and Authorization. The URL must be encoded already. 0, -1: no memory. */
int aws_sign(struct aws_signer *signer, struct http_request *request, const struct aws_keys *keys,
             const char *region, const char *service, int64_t now_s);

#endif
