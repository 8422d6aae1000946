/* SPDX-License-Identifier: MIT
 * Google's access tokens: from a service account's key, from the metadata server of a machine of
 * Google's, or none (an emulator). */
#ifndef PUBSUB_TOKEN_H
#define PUBSUB_TOKEN_H

#include "dialect.h"

struct pubsub_token;

/* Reads pubsub.authentication and pubsub.key. `emulator`: none is meant where nothing is said. NULL:
 * refused, or no memory. */
struct pubsub_token *pubsub_token_open(struct http_reader *reader, bool emulator);
void pubsub_token_free(struct pubsub_token *token);

/* As `authorise`, `authorised`, `forget` and `sign` of struct http_dialect. */
int pubsub_token_ask(struct pubsub_token *token, int64_t now_s, struct http_request *ret_request,
                     struct http_fault *fault);
int pubsub_token_take(struct pubsub_token *token, const struct http_answer *answer, int64_t now_s,
                      struct http_fault *fault);
void pubsub_token_forget(struct pubsub_token *token);
int pubsub_token_sign(struct pubsub_token *token, struct http_request *request);

#endif
