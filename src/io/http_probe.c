/* SPDX-License-Identifier: MIT */
#include "io/http_probe.h"

#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "io/http_options.h"

/* A part of a URL: empty where it is missing. Free with curl_free. */
static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;

    return curl_url_get(url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = part_of(url, part, 0);
    bool has = text != NULL;

    curl_free(text);
    return has;
}

static int check_parts(CURLU *url, struct fault *fault)
{
    char *scheme = part_of(url, CURLUPART_SCHEME, 0);
    int result = 0;

    if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        result = fault_set(fault, "found the scheme \"%.20s\", expected http:// or https://",
                           scheme ? scheme : "");
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        result = fault_set(fault, "found a user name or password in it; put them into "
                                  "target.http.auth.basic");
    else if (has_part(url, CURLUPART_FRAGMENT))
        result =
            fault_set(fault, "found a fragment (#...) in it, which is never sent; take it out");
    curl_free(scheme);
    return result;
}

int http_probe_url(const char *text, struct fault *fault)
{
    CURLU *url;
    CURLUcode code;
    int result;

    if (!strstr(text, "://"))
        return fault_set(fault, "found \"%.60s\", expected http:// or https:// before it", text);
    url = curl_url();
    if (!url)
        abort();
    code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
    result = code == CURLUE_OK
                 ? check_parts(url, fault)
                 : fault_set(fault, "not a URL (%s); expected one such as https://host/path",
                             curl_url_strerror(code));
    curl_url_cleanup(url);
    return result;
}

bool http_probe_is_private(const char *text)
{
    CURLU *url = curl_url();
    char *scheme, *host;
    bool result;

    if (!url)
        abort();
    curl_url_set(url, CURLUPART_URL, text, 0);
    scheme = part_of(url, CURLUPART_SCHEME, 0);
    host = part_of(url, CURLUPART_HOST, 0);
    result = !scheme || !host || strcmp(scheme, "https") == 0 || strcmp(host, "localhost") == 0 ||
             strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    return result;
}

/* ---- connecting ---- */

/* `host:port`, as far as known. */
static int explain(const struct http_settings *settings, CURLcode code, const char *detail,
                   struct fault *fault)
{
    CURLU *url = curl_url();
    char *host, *port;

    if (!url)
        abort();
    curl_url_set(url, CURLUPART_URL, settings->url, 0);
    host = part_of(url, CURLUPART_HOST, 0);
    port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    fault_set(fault, "%s:%s%s%s cannot be reached: %s", host ? host : "", port ? port : "",
              settings->unix_socket ? " at " : "",
              settings->unix_socket ? settings->unix_socket : "",
              *detail ? detail : curl_easy_strerror(code));
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
    return -1;
}

int http_probe_connect(const struct http_settings *settings, int64_t deadline_us,
                       struct fault *fault)
{
    CURL *easy = curl_easy_init();
    char detail[CURL_ERROR_SIZE] = "";
    int64_t limit =
        settings->connect_timeout_us < deadline_us ? settings->connect_timeout_us : deadline_us;
    CURLcode code;

    if (!easy)
        abort();
    curl_easy_setopt(easy, CURLOPT_URL, settings->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(limit / CLOCK_MS) + 1);
    if (settings->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, settings->unix_socket);
    code = http_options_apply_tls(settings, easy);
    if (!code)
        code = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    return code == CURLE_OK ? 0 : explain(settings, code, detail, fault);
}
