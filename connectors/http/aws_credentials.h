/* SPDX-License-Identifier: MIT
 * Keys of AWS: from the mapping, the environment, the shared files, a web identity's token, the container's
 * or the instance's metadata service, in the ways of AWS's own SDKs
 * (docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). Files are read when they are
 * needed, so that new ones are taken. */
#ifndef AWS_CREDENTIALS_H
#define AWS_CREDENTIALS_H

#include "aws_sign.h"
#include "dialect.h"

struct aws_credentials;

/* Reads sqs.credentials, sqs.profile and the keys, and looks where keys may be found. NULL: refused, or
 * no memory. */
struct aws_credentials *aws_credentials_open(struct http_reader *reader);
void aws_credentials_free(struct aws_credentials *credentials);

/* The region that the environment or the profile names; the caller frees it. NULL: none. */
char *aws_credentials_region(const struct aws_credentials *credentials);
/* Where the Security Token Service is asked, before the first `ask`; the text must last. */
void aws_credentials_use_region(struct aws_credentials *credentials, const char *region);

/* As `authorise`, `authorised`, `unanswered` and `forget` of struct http_dialect. */
int aws_credentials_ask(struct aws_credentials *credentials, int64_t now_s,
                        struct http_request *ret_request, struct http_fault *fault);
int aws_credentials_take(struct aws_credentials *credentials, const struct http_answer *answer,
                         int64_t now_s, struct http_fault *fault);
int aws_credentials_unanswered(struct aws_credentials *credentials, int64_t now_s,
                               struct http_fault *fault);
void aws_credentials_forget(struct aws_credentials *credentials);

/* The keys to sign with; NULL where requests are not signed. */
const struct aws_keys *aws_credentials_keys(const struct aws_credentials *credentials);
/* Where they come from and what to do when they are refused, for people. */
const char *aws_credentials_cure(const struct aws_credentials *credentials);

#endif
