/* SPDX-License-Identifier: MIT
 * STS's query API (docs.aws.amazon.com/STS/latest/APIReference), the container's endpoint
 * (docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html) and version 2 of the
 * instance metadata service (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html). */
#define _GNU_SOURCE
#include "aws_requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <jansson.h>

#include "aws_files.h"
#include "json_read.h"

#define FULL_URI      "AWS_CONTAINER_CREDENTIALS_FULL_URI"
#define RELATIVE_URI  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
#define CONTAINER     "http://169.254.170.2"
#define INSTANCE      "http://169.254.169.254"
#define INSTANCE_IPV6 "http://[fd00:ec2::254]"
#define ROLES         "/latest/meta-data/iam/security-credentials/"
#define SESSION       "sluice"

static int no_memory(struct http_fault *fault)
{
    return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* ---- STS ---- */

static int add_field(FILE *out, const char *name, const char *value)
{
    char *encoded = curl_easy_escape(NULL, value, (int)strlen(value));

    if (!encoded)
        return -1;
    fprintf(out, "&%s=%s", name, encoded);
    curl_free(encoded);
    return 0;
}

/* `action` and the role, and one more field where `value` is not NULL. */
static int build_sts(const char *region, const char *action, const struct aws_role *role, const char *name,
                     const char *value, struct http_request *ret, struct http_fault *fault)
{
    const char *endpoint = environment("AWS_ENDPOINT_URL_STS");
    FILE *out = open_memstream(&ret->body, &ret->body_size);
    int status = out ? 0 : -1;

    if (!endpoint)
        endpoint = environment("AWS_ENDPOINT_URL");
    if (out) {
        fprintf(out, "Action=%s&Version=2011-06-15", action);
        status = add_field(out, "RoleArn", role->arn) ||
                 add_field(out, "RoleSessionName", role->session ? role->session : SESSION) ||
                 (value && add_field(out, name, value));
        status = fclose(out) || status;
    }
    ret->method = "POST";
    if (!status)
        status = endpoint ? http_request_url(ret, "%s/", endpoint)
                          : http_request_url(ret, "https://sts.%s.amazonaws.com%s/", region,
                                             strncmp(region, "cn-", 3) ? "" : ".cn");
    if (status || http_request_header(ret, "Content-Type: application/x-www-form-urlencoded"))
        return no_memory(fault);
    return 0;
}

int aws_request_web_identity(const char *region, const struct aws_role *role, const char *token,
                             struct http_request *ret, struct http_fault *fault)
{
    return build_sts(region, "AssumeRoleWithWebIdentity", role, "WebIdentityToken", token, ret, fault);
}

int aws_request_role(const char *region, const struct aws_role *role, const struct aws_keys *keys,
                     int64_t now_s, struct http_request *ret, struct http_fault *fault)
{
    struct aws_signer *signer;
    int status;

    if (build_sts(region, "AssumeRole", role, "ExternalId", role->external_id, ret, fault))
        return -1;
    signer = aws_signer_new();
    status = signer ? aws_sign(signer, ret, keys, region, "sts", now_s) : -1;
    aws_signer_free(signer);
    return status ? no_memory(fault) : 0;
}

/* The text of the first element of this name, without references to characters; NULL: none. */
static char *xml_text(const char *body, const char *name)
{
    char begin[64], end[64];
    const char *at, *after;

    snprintf(begin, sizeof begin, "<%s>", name);
    snprintf(end, sizeof end, "</%s>", name);
    at = strstr(body, begin);
    after = at ? strstr(at, end) : NULL;
    if (!after)
        return NULL;
    at += strlen(begin);
    return strndup(at, (size_t)(after - at));
}

/* Keys go into headers: letters, digits and signs, no blanks. */
static bool is_token(const char *text)
{
    size_t size = text ? strlen(text) : 0;

    if (!size || size > AWS_TEXT_MOST)
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* Takes the texts over. */
static int check_keys(struct aws_keys *keys, const char *end, const char *who, struct aws_keys *ret_keys,
                      int64_t *ret_end_s, struct http_fault *fault)
{
    int64_t end_ms = http_read_time(end);

    if (!is_token(keys->id) || !is_token(keys->secret) || !is_token(keys->session) || !end_ms) {
        aws_keys_wipe(keys);
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "%.200s answers something else than temporary keys with the time of their end "
                          "(the answer is not shown); it is asked again",
                          who);
    }
    *ret_keys = *keys;
    *ret_end_s = end_ms / 1000;
    return 0;
}

int aws_read_sts(const struct http_answer *answer, const char *who, struct aws_keys *ret_keys,
                 int64_t *ret_end_s, struct http_fault *fault)
{
    struct aws_keys keys = {xml_text(answer->body, "AccessKeyId"), xml_text(answer->body, "SecretAccessKey"),
                            xml_text(answer->body, "SessionToken")};
    char *end = xml_text(answer->body, "Expiration");
    int status = check_keys(&keys, end, who, ret_keys, ret_end_s, fault);

    free(end);
    return status;
}

int aws_read_sts_error(const struct http_answer *answer, const char *who, struct http_fault *fault)
{
    char *code = xml_text(answer->body, "Code"), *message = xml_text(answer->body, "Message");
    bool passes = answer->status >= 500 || answer->status == 429 || (code && strstr(code, "Throttl"));

    http_fault(fault, passes ? SLUICE_STATE_UNREACHABLE : SLUICE_STATE_UNAUTHORISED,
               "%.200s answers %ld%s%.100s%s%.250s%s", who, answer->status, code ? ", " : "",
               code ? code : "", message ? ": " : "", message ? message : "",
               passes ? "; it is tried again" : "");
    free(code);
    free(message);
    return -1;
}

/* ---- containers ---- */

bool aws_has_container(void)
{
    return environment(FULL_URI) || environment(RELATIVE_URI);
}

/* The key of the service goes there in the clear: only to where AWS has it, unless by TLS. */
static bool is_allowed(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]", "169.254.170.2",
                                        "169.254.170.23", "[fd00:ec2::23]"};
    const char *host = strncmp(url, "http://", 7) ? NULL : url + 7;

    if (!host)
        return !strncmp(url, "https://", 8);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        if (!strncmp(host, hosts[i], strlen(hosts[i])) && strchr(":/", host[strlen(hosts[i])]))
            return true;
    return false;
}

/* The token of the container's service, from a file that may change or from the environment. */
static int add_container_token(struct http_request *ret, struct http_fault *fault)
{
    const char *file = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *given = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    char problem[HTTP_TEXT / 2], *token;
    int status;

    if (!file && !given)
        return 0;
    token = file ? aws_files_text(file, problem, sizeof problem) : strdup(given);
    if (!token)
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                          "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %s", file ? problem : "no memory");
    status = strpbrk(token, "\r\n")
                 ? http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                              "the container's authorization token has more than one line")
             : http_request_header(ret, "Authorization: %s", token) ? no_memory(fault)
                                                                    : 0;
    explicit_bzero(token, strlen(token));
    free(token);
    return status;
}

int aws_request_container(struct http_request *ret, struct http_fault *fault)
{
    const char *relative = environment(RELATIVE_URI), *full = environment(FULL_URI);

    ret->method = "GET";
    ret->direct = true;
    if (!relative && !full)
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                          "sqs.credentials: container, but the environment has neither " RELATIVE_URI
                          " nor " FULL_URI);
    if (!relative && !is_allowed(full))
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                          FULL_URI " is %.200s: expected https:// or, with http://, this machine or one of "
                          "AWS's addresses (169.254.170.2, 169.254.170.23, [fd00:ec2::23])",
                          full);
    if (relative ? http_request_url(ret, CONTAINER "%s", relative) : http_request_url(ret, "%s", full))
        return no_memory(fault);
    return add_container_token(ret, fault);
}

/* ---- instances ---- */

bool aws_has_instance(void)
{
    const char *disabled = environment("AWS_EC2_METADATA_DISABLED");

    return !disabled || strcasecmp(disabled, "true") != 0;
}

static const char *instance(void)
{
    const char *endpoint = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

    if (endpoint)
        return endpoint;
    return mode && !strcasecmp(mode, "IPv6") ? INSTANCE_IPV6 : INSTANCE;
}

/* The endpoint without a slash at its end. */
static int instance_url(struct http_request *ret, const char *path, const char *name)
{
    const char *endpoint = instance();
    size_t size = strlen(endpoint);

    while (size && endpoint[size - 1] == '/')
        size--;
    ret->direct = true;
    return http_request_url(ret, "%.*s%s%s", (int)size, endpoint, path, name);
}

int aws_request_instance_token(struct http_request *ret, struct http_fault *fault)
{
    ret->method = "PUT";
    return instance_url(ret, "/latest/api/token", "") ||
                   http_request_header(ret, "X-aws-ec2-metadata-token-ttl-seconds: 21600")
               ? no_memory(fault)
               : 0;
}

int aws_request_instance(const char *token, const char *name, struct http_request *ret,
                         struct http_fault *fault)
{
    ret->method = "GET";
    return instance_url(ret, ROLES, name ? name : "") ||
                   http_request_header(ret, "X-aws-ec2-metadata-token: %s", token)
               ? no_memory(fault)
               : 0;
}

char *aws_read_line(const struct http_answer *answer)
{
    char *line = strndup(answer->body, strcspn(answer->body, "\r\n"));

    if (line && is_token(line))
        return line;
    free(line);
    return NULL;
}

static char *copy_text(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? strdup(text) : NULL;
}

int aws_read_metadata(const struct http_answer *answer, const char *who, struct aws_keys *ret_keys,
                      int64_t *ret_end_s, struct http_fault *fault)
{
    json_t *root = json_read(answer);
    const char *code = json_string_value(json_object_get(root, "Code"));
    struct aws_keys keys;
    int status;

    if (code && strcmp(code, "Success") != 0) {
        status = http_fault(fault, SLUICE_STATE_UNAUTHORISED, "%.200s gives no keys but the code %.80s", who,
                            code);
    } else {
        keys = (struct aws_keys){copy_text(root, "AccessKeyId"), copy_text(root, "SecretAccessKey"),
                                 copy_text(root, "Token")};
        status = check_keys(&keys, json_string_value(json_object_get(root, "Expiration")), who, ret_keys,
                            ret_end_s, fault);
    }
    json_decref(root);
    return status;
}
