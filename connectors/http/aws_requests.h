/* SPDX-License-Identifier: MIT
 * The requests for temporary keys, and what their answers say: STS, and the metadata services of
 * containers and instances. */
#ifndef AWS_REQUESTS_H
#define AWS_REQUESTS_H

#include "aws_sign.h"
#include "dialect.h"

#define AWS_TEXT_MOST 16384 /* bytes of a key or token */

/* Who takes on a role, and how it is told. */
struct aws_role {
    char *arn;
    char *session;     /* NULL: "sluice" */
    char *external_id; /* NULL: none */
};

/* Builds a request. 0; -1 with a fault. */
int aws_request_web_identity(const char *region, const struct aws_role *role, const char *token,
                             struct http_request *ret, struct http_fault *fault);
/* The same by keys that may take on the role. */
int aws_request_role(const char *region, const struct aws_role *role, const struct aws_keys *keys,
                     int64_t now_s, struct http_request *ret, struct http_fault *fault);
int aws_request_container(struct http_request *ret, struct http_fault *fault);
/* The instance's are three: for a token, for the role's name (`name` NULL), for its keys. */
int aws_request_instance_token(struct http_request *ret, struct http_fault *fault);
int aws_request_instance(const char *token, const char *name, struct http_request *ret,
                         struct http_fault *fault);

/* Whether the environment names a container's service; whether that of the instance is not forbidden. */
bool aws_has_container(void);
bool aws_has_instance(void);

/* Reads keys out of an answer of status 2xx: XML of STS, or JSON. `ret_end_s`: when they end. -1 with
 * a fault, which shows nothing of the answer. */
int aws_read_sts(const struct http_answer *answer, const char *who, struct aws_keys *ret_keys,
                 int64_t *ret_end_s, struct http_fault *fault);
int aws_read_metadata(const struct http_answer *answer, const char *who, struct aws_keys *ret_keys,
                      int64_t *ret_end_s, struct http_fault *fault);
/* What STS says of an error, into the fault; -1. */
int aws_read_sts_error(const struct http_answer *answer, const char *who, struct http_fault *fault);

/* A line of text as an answer of status 2xx has it; the caller frees it. NULL: it is none. */
char *aws_read_line(const struct http_answer *answer);

#endif
