/* SPDX-License-Identifier: MIT
 * How a transfer ended: curl's many codes as the few that matter, and a text for people. Only for
 * http_client.c. */
#ifndef IO_HTTP_END_H
#define IO_HTTP_END_H

#include <curl/curl.h>

#include "io/http_client.h"
#include "io/http_options.h"

/* What is known of a transfer beside curl's code. */
struct http_end_facts {
    CURLcode code;
    long errno_number; /* of the last connect or socket call, 0: none */
    unsigned sendings; /* how often curl was about to send the request; above 1 was forbidden */
    bool body_too_large;
    bool headers_too_large;
    const char *detail; /* curl's own words, may be "" */
};

/* The rule: as long as the request was never about to be sent, nothing was sent. From then on it
 * may have arrived, whatever the error says. */
enum http_end http_end_classify(const struct http_end_facts *facts);

/* For ends other than HTTP_ANSWERED. Holds host and port, no URL and no header. */
void http_end_explain(const struct http_end_facts *facts, const struct http_options *options,
                      char *ret_text, size_t room);

/* Microseconds from the value of a Retry-After header, seconds or HTTP date (RFC 9110, 10.2.3);
 * 0 where it is neither, negative or past; at most a day. */
int64_t http_end_retry_after(const char *value, int64_t wall_us);

#endif
