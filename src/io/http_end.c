/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_end.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"

enum http_end http_end_classify(const struct http_end_facts *facts)
{
    if (facts->body_too_large)
        return HTTP_TOO_LARGE;
    if (facts->code == CURLE_OK)
        return HTTP_ANSWERED;
    if (!facts->sendings)
        return facts->code == CURLE_OPERATION_TIMEDOUT ? HTTP_CONNECT_TIMEOUT : HTTP_UNREACHABLE;
    return facts->code == CURLE_OPERATION_TIMEDOUT ? HTTP_TIMEOUT : HTTP_BROKEN;
}

static void explain_unreachable(const struct http_end_facts *facts,
                                const struct http_options *options, char *text, size_t room)
{
    const char *known = facts->errno_number ? strerrordesc_np((int)facts->errno_number) : NULL;
    const char *why = known ? known : facts->detail;

    if (facts->errno_number == EMFILE || facts->errno_number == ENFILE) {
        snprintf(text, room,
                 "%s: cannot connect: too many open files; raise the limit (LimitNOFILE= of the unit), "
                 "or lower target.http.concurrency",
                 options->place);
        return;
    }
    switch (facts->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        snprintf(text, room,
                 "%s: cannot resolve the name %s; check the spelling and the DNS server",
                 options->place, options->host);
        break;
    case CURLE_ABORTED_BY_CALLBACK:
        snprintf(text, room, "%s: the server sends without being asked on kept-alive connections",
                 options->place);
        break;
    case CURLE_COULDNT_CONNECT:
        snprintf(text, room, "%s: cannot connect: %s; is the function running and listening there?",
                 options->place, why);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
        snprintf(text, room,
                 "%s: the server's certificate is not trusted: %s; correct the host "
                 "name in the url, or name its CA file",
                 options->place, facts->detail);
        break;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        snprintf(text, room,
                 "%s: cannot use a certificate or key file: %s; check the files and the "
                 "key's password",
                 options->place, facts->detail);
        break;
    case CURLE_SSL_CONNECT_ERROR:
        snprintf(text, room,
                 "%s: no TLS connection: %s; is it an https port with TLS 1.2 or later?",
                 options->place, *facts->detail ? facts->detail : why);
        break;
    default:
        snprintf(text, room, "%s: cannot connect: %s", options->place,
                 *facts->detail ? facts->detail : curl_easy_strerror(facts->code));
    }
}

void http_end_explain(const struct http_end_facts *facts, const struct http_options *options,
                      char *text, size_t room)
{
    const struct http_settings *settings = options->settings;
    char amount[UNITS_TEXT];

    switch (http_end_classify(facts)) {
    case HTTP_ANSWERED:
        *text = '\0';
        return;
    case HTTP_UNREACHABLE:
        explain_unreachable(facts, options, text, room);
        return;
    case HTTP_CONNECT_TIMEOUT:
        snprintf(text, room,
                 "%s: no connection within %s; is the host up%s, does a firewall drop packets?",
                 options->place,
                 units_print_duration(settings->timeout_us < settings->connect_timeout_us
                                          ? settings->timeout_us
                                          : settings->connect_timeout_us,
                                      amount),
                 strncmp(settings->url, "https:", 6) ? "" : ", does the port speak TLS");
        return;
    case HTTP_TIMEOUT:
        snprintf(text, room,
                 "%s: no whole answer within %s; make the function faster or its timeout "
                 "longer",
                 options->place, units_print_duration(settings->timeout_us, amount));
        return;
    case HTTP_TOO_LARGE:
        snprintf(text, room, "%s: the answer is larger than %s; answer less or allow more",
                 options->place, units_print_bytes((int64_t)settings->response_bytes, amount));
        return;
    case HTTP_BROKEN:
        if (facts->sendings > 1)
            snprintf(text, room,
                     "%s: the kept-alive connection was closed while the request was "
                     "sent; it may have arrived",
                     options->place);
        else if (facts->code == CURLE_UNSUPPORTED_PROTOCOL) /* curl: "HTTP/0.9 when not allowed" */
            snprintf(text, room,
                     "%s: the answer is not HTTP; does another program listen there? The request may "
                     "have arrived",
                     options->place);
        else if (facts->headers_too_large)
            snprintf(text, room, "%s: the answer's headers are too large", options->place);
        else
            snprintf(text, room, "%s: no whole answer: %s; the request may have arrived",
                     options->place,
                     *facts->detail ? facts->detail : curl_easy_strerror(facts->code));
        return;
    }
}

int64_t http_end_retry_after(const char *value, int64_t wall_us)
{
    int64_t us = 0;
    time_t date;

    while (*value == ' ' || *value == '\t')
        value++;
    if (*value >= '0' && *value <= '9') {
        for (; *value >= '0' && *value <= '9' && us <= CLOCK_DAY; value++)
            us = us * 10 + (*value - '0') * CLOCK_SECOND;
        value += strspn(value, "0123456789");
        if (value[strspn(value, " \t")])
            return 0;
    } else if ((date = curl_getdate(value, NULL)) > 0) {
        if (date >= wall_us / CLOCK_SECOND + CLOCK_DAY / CLOCK_SECOND)
            return CLOCK_DAY;
        us = date * CLOCK_SECOND - wall_us;
    }
    return us < 0 ? 0 : us > CLOCK_DAY ? CLOCK_DAY : us;
}
