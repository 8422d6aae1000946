/* SPDX-License-Identifier: MIT */
#include "service/config_traces.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "io/http_probe.h"
#include "service/config_mapping.h"
#include "service/secret.h"

#define ENDPOINT "traces.endpoint"
#define HEADERS  "traces.headers"
#define CA       "traces.tls.ca_file"

static char *copy_text(const struct sluice_values *settings, const char *name)
{
    const char *text = options_text(settings, name);

    return text ? memory_text(text) : NULL;
}

static void check_endpoint(const struct sluice_values *settings, const struct http_settings *http,
                           struct problems *problems)
{
    struct fault fault;

    if (http_probe_url(http->url, &fault))
        problem_add(problems, options_place(settings, ENDPOINT), ENDPOINT ": %s", fault.text);
    else if (http->headers && !http_probe_is_private(http->url))
        problem_warn(problems, options_place(settings, HEADERS),
                     HEADERS ": they travel over http to another machine, where anybody on the way "
                             "reads them; use https");
    if (http->ca_file && file_check_owner(http->ca_file, "the file", &fault))
        problem_add(problems, options_place(settings, CA), CA ": %s", fault.text);
}

void config_traces_read(const struct sluice_values *settings, struct trace_settings *ret_traces,
                        struct problems *problems)
{
    struct http_settings *http = &ret_traces->http;

    ret_traces->sample = options_decimal(settings, "traces.sample");
    http->url = copy_text(settings, ENDPOINT);
    http->headers = config_mapping_headers(settings, HEADERS, problems);
    http->ca_file = copy_text(settings, CA);
    http->timeout_us = 10 * CLOCK_SECOND;
    http->connect_timeout_us = 5 * CLOCK_SECOND;
    http->response_bytes = 64 * 1024;
    http->connections = 1;
    if (http->url)
        check_endpoint(settings, http, problems);
    else if (http->headers)
        problem_warn(problems, options_place(settings, HEADERS),
                     HEADERS ": has no effect without " ENDPOINT);
}

void config_traces_fini(struct trace_settings *traces)
{
    for (size_t i = 0; traces->http.headers && traces->http.headers[i]; i++)
        secret_free(traces->http.headers[i]);
    free(traces->http.headers);
    free(traces->http.url);
    free(traces->http.ca_file);
}

static bool same_text(const char *one, const char *other)
{
    return one && other ? !strcmp(one, other) : one == other;
}

static bool same_headers(char *const *one, char *const *other)
{
    size_t i = 0;

    if (!one || !other)
        return !one && !other;
    while (one[i] && same_text(one[i], other[i]))
        i++;
    return !one[i] && !other[i];
}

bool config_traces_same(const struct trace_settings *one, const struct trace_settings *other)
{
    return one->sample >= other->sample && one->sample <= other->sample &&
           same_text(one->http.url, other->http.url) &&
           same_text(one->http.ca_file, other->http.ca_file) &&
           same_headers(one->http.headers, other->http.headers);
}
