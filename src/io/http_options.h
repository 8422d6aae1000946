/* SPDX-License-Identifier: MIT
 * What is the same for all requests to a target: settings checked once, and put into an easy handle
 * once. Only for http_client.c and http_probe.c. */
#ifndef IO_HTTP_OPTIONS_H
#define IO_HTTP_OPTIONS_H

#include <curl/curl.h>

#include "base/fault.h"
#include "io/http_client.h"

struct http_options {
    const struct http_settings *settings;
    char place[160];            /* host:port or unix:/path, for people */
    char host[128];             /* without the port */
    CURLU *url;                 /* parsed once instead of with every request */
    struct curl_slist *headers; /* sent with every request, after the request's own */
};

/* Checks settings and makes what derives from them. 0, or -1 with a fault and nothing allocated. */
int http_options_init(struct http_options *options, const struct http_settings *settings,
                      struct fault *fault);
void http_options_fini(struct http_options *options);

/* Everything but what changes with a request and the callbacks. 0, or -1 with a fault. */
int http_options_apply(const struct http_options *options, CURL *easy, struct fault *fault);

/* The part of it that is about TLS: 1.2 at least, and whom to trust. */
CURLcode http_options_apply_tls(const struct http_settings *settings, CURL *easy);

/* Whether the settings have a header of the same name as the line `header`, which then wins. */
bool http_options_overrides(const struct http_options *options, const char *header);

#endif
