/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/base64.h"
#include "base/memory.h"

#define KEEPALIVE_IDLE_S     60L
#define KEEPALIVE_INTERVAL_S 20L

static bool has_control(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return true;
    return false;
}

static size_t header_name_size(const char *header)
{
    return strcspn(header, ":");
}

bool http_options_overrides(const struct http_options *options, const char *header)
{
    size_t size = header_name_size(header);

    for (char **own = options->settings->headers; own && *own; own++)
        if (header_name_size(*own) == size && !strncasecmp(*own, header, size))
            return true;
    return false;
}

/* ---- checking ---- */

static int check_header(const char *header, size_t number, struct fault *fault)
{
    static const char name_characters[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t size = header_name_size(header);

    /* Only what surely is a name is shown: the rest may be a secret. */
    if (!size || header[size] != ':' || strspn(header, name_characters) != size)
        return fault_set(fault, "the header number %zu is not of the form `Name: value`", number);
    if (has_control(header))
        return fault_set(fault, "header %.*s: the value has a line break or control character",
                         (int)size, header);
    return 0;
}

static int check_pem(const char *path, const char *what, struct fault *fault)
{
    char line[4096];
    FILE *file;
    bool found = false;

    if (!path)
        return 0;
    file = fopen(path, "re");
    if (!file)
        return fault_set(fault, "cannot read %s %s: %s", what, path, strerror(errno));
    while (!found && fgets(line, sizeof line, file))
        found = !strncmp(line, "-----BEGIN ", 11);
    if (!found && ferror(file))
        fault_set(fault, "cannot read %s %s: %s", what, path, strerror(errno));
    else if (!found)
        fault_set(fault, "%s %s is not a PEM file (no line `-----BEGIN ...`)", what, path);
    explicit_bzero(line, sizeof line);
    fclose(file);
    return found ? 0 : -1;
}

/* Never shows the URL: it may hold a secret in its user, path or query. */
static int check_url(struct http_options *options, struct fault *fault)
{
    const char *url = options->settings->url;
    CURLU *parts = options->url;
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    CURLUcode code;
    int result = -1;

    code = curl_url_set(parts, CURLUPART_URL, url ? url : "", 0);
    if (code) {
        fault_set(fault,
                  "the url is not valid (%s): expected http://HOST[:PORT]/PATH or https://...",
                  curl_url_strerror(code));
        goto end;
    }
    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    if (!scheme || (strcmp(scheme, "http") && strcmp(scheme, "https"))) {
        fault_set(fault, "the url's scheme is %s: expected http:// or https://",
                  scheme ? scheme : "missing");
        goto end;
    }
    if (!curl_url_get(parts, CURLUPART_USER, &user, 0)) {
        fault_set(fault, "the url has a user name in it: expected it under `auth`, where the "
                         "password is kept secret");
        goto end;
    }
    if (curl_url_get(parts, CURLUPART_HOST, &host, 0) ||
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)) {
        fault_set(fault, "the url has no host: expected http://HOST[:PORT]/PATH or https://...");
        goto end;
    }
    snprintf(options->host, sizeof options->host, "%s", host);
    if (options->settings->unix_socket)
        snprintf(options->place, sizeof options->place, "unix:%s", options->settings->unix_socket);
    else
        snprintf(options->place, sizeof options->place, "%s:%s", options->host, port);
    result = 0;
end:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return result;
}

static int check(struct http_options *options, struct fault *fault)
{
    const struct http_settings *settings = options->settings;
    const char *username = settings->username ? settings->username : "";
    const char *password = settings->password ? settings->password : "";

    if (check_url(options, fault))
        return -1;
    for (size_t i = 0; settings->headers && settings->headers[i]; i++)
        if (check_header(settings->headers[i], i + 1, fault))
            return -1;
    if (settings->auth != HTTP_AUTH_NONE && http_options_overrides(options, "Authorization:"))
        return fault_set(fault, "both `auth` and a header Authorization are set: keep one");
    if (settings->auth == HTTP_AUTH_BASIC &&
        (strchr(username, ':') || has_control(username) || has_control(password)))
        return fault_set(fault, "basic auth: the user name must have no colon, and neither it nor "
                                "the password a control character");
    if (settings->auth == HTTP_AUTH_BEARER && (!settings->token || has_control(settings->token)))
        return fault_set(fault, "bearer auth: the token is missing or has a line break or control "
                                "character (a file that ends with a line break?)");
    if (settings->unix_socket &&
        strlen(settings->unix_socket) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return fault_set(fault, "unix socket %s: the path is too long (at most %zu bytes)",
                         settings->unix_socket, sizeof((struct sockaddr_un *)0)->sun_path - 1);
    if (settings->key_file && !settings->certificate_file)
        return fault_set(fault, "a client key is set without its certificate");
    if (check_pem(settings->ca_file, "CA file", fault) ||
        check_pem(settings->certificate_file, "client certificate", fault) ||
        check_pem(settings->key_file, "client key", fault))
        return -1;
    return 0;
}

/* ---- making ---- */

static void add_header(struct http_options *options, const char *header)
{
    struct curl_slist *longer = curl_slist_append(options->headers, header);

    if (!longer) {
        fputs("sluice: out of memory\n", stderr);
        abort();
    }
    options->headers = longer;
}

static char *authorization(const struct http_settings *settings)
{
    char *pair, *end, *header;
    size_t size;

    if (settings->auth == HTTP_AUTH_BEARER)
        return memory_format("Authorization: Bearer %s", settings->token);
    pair = memory_format("%s:%s", settings->username ? settings->username : "",
                         settings->password ? settings->password : "");
    size = strlen(pair);
    header = memory_new(sizeof "Authorization: Basic " + BASE64_SIZE(size));
    end = stpcpy(header, "Authorization: Basic ");
    *base64_write(end, pair, size) = '\0';
    explicit_bzero(pair, size);
    free(pair);
    return header;
}

int http_options_init(struct http_options *options, const struct http_settings *settings,
                      struct fault *fault)
{
    *options = (struct http_options){.settings = settings, .url = curl_url()};
    if (check(options, fault)) {
        http_options_fini(options);
        return -1;
    }
    /* curl would ask before sending a body of over 1 MiB, and wait a second where nobody answers.
     */
    add_header(options, "Expect:");
    if (!http_options_overrides(options, "User-Agent:")) /* curl's own option for it makes it anew for each request */
        add_header(options, "User-Agent: sluice/" SLUICE_VERSION);
    for (char **header = settings->headers; header && *header; header++)
        add_header(options, *header);
    if (settings->auth != HTTP_AUTH_NONE) {
        char *header = authorization(settings);

        add_header(options, header);
        explicit_bzero(header, strlen(header));
        free(header);
    }
    return 0;
}

void http_options_fini(struct http_options *options)
{
    for (struct curl_slist *node = options->headers; node; node = node->next)
        explicit_bzero(node->data, strlen(node->data));
    curl_slist_free_all(options->headers);
    curl_url_cleanup(options->url);
    options->headers = NULL;
    options->url = NULL;
}

static long milliseconds(int64_t us)
{
    int64_t ms = (us + 999) / 1000;

    return us <= 0 ? 1 : ms > INT32_MAX ? INT32_MAX : (long)ms;
}

CURLcode http_options_apply_tls(const struct http_settings *settings, CURL *easy)
{
    CURLcode code = curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);

    if (!code && settings->insecure) {
        code = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        if (!code)
            code = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!code && settings->ca_file) {
        code = curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
        if (!code) /* that file alone, without the system's directory */
            code = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (!code && settings->certificate_file)
        code = curl_easy_setopt(easy, CURLOPT_SSLCERT, settings->certificate_file);
    if (!code && settings->certificate_file)
        code =
            curl_easy_setopt(easy, CURLOPT_SSLKEY,
                             settings->key_file ? settings->key_file : settings->certificate_file);
    if (!code && settings->key_password)
        code = curl_easy_setopt(easy, CURLOPT_KEYPASSWD, settings->key_password);
    return code;
}

int http_options_apply(const struct http_options *options, CURL *easy, struct fault *fault)
{
    const struct http_settings *settings = options->settings;
    CURLcode code = CURLE_OK;

    /* Stops at the first that fails; later ones are then skipped by the `!code`. */
#define SET(option, value) (code = code ? code : curl_easy_setopt(easy, option, value))
    SET(CURLOPT_CURLU, options->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*"); /* else curl looks through the environment for each request */
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_TIMEOUT_MS, milliseconds(settings->timeout_us));
    SET(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(settings->connect_timeout_us));
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    SET(CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    if (settings->unix_socket)
        SET(CURLOPT_UNIX_SOCKET_PATH, settings->unix_socket);
#undef SET
    if (!code)
        code = http_options_apply_tls(settings, easy);
    if (code)
        return fault_set(fault, "%s: libcurl refuses a setting: %s", options->place,
                         curl_easy_strerror(code));
    return 0;
}
