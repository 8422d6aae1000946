/* SPDX-License-Identifier: MIT
 * AWS's signature version 4: the vectors of the test suite and of the examples that AWS published. The
 * connector is a plugin, so its files are taken in whole. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../connectors/http/aws_sign.c"
#include "../../connectors/http/dialect.c"
#include "../../connectors/http/hashes.c"
#include "../../connectors/http/md5_many.c"

#define NOW   1440938160 /* 2015-08-30 12:36:00 UTC, of all vectors */
#define HOST  "https://example.amazonaws.com"
#define FORM  "Content-Type:application/x-www-form-urlencoded"
#define TOKEN                                                                                      \
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeo" \
    "IYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5V" \
    "SXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yj" \
    "c8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

struct vector {
    const char *name, *method, *url, *signature;
    const char *headers[5], *body, *session, *service;
};

#define VECTOR(name_, method_, url_, signature_, ...)                                               \
    {.name = name_, .method = method_, .url = url_, .signature = signature_, __VA_ARGS__}

static const struct vector vectors[] = {
    VECTOR("get-vanilla", "GET", HOST, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    VECTOR("get-slash", "GET", HOST "//", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    VECTOR("get-slashes", "GET", HOST "//example//",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    VECTOR("get-relative", "GET", HOST "/example/..",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    VECTOR("get-relative-relative", "GET", HOST "/example1/example2/../..",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    VECTOR("get-slash-pointless-dot", "GET", HOST "/./example",
     "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    VECTOR("get-space", "GET", HOST "/example space/",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    VECTOR("get-special-character", "GET", HOST "/example/$delete",
     "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27"),
    VECTOR("get-unreserved", "GET", HOST "/" UNRESERVED,
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    VECTOR("get-utf8", "GET", HOST "/\u1234",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    VECTOR("get-vanilla-empty-query-key", "GET", HOST "/?Param1=value1",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    VECTOR("get-vanilla-query-order-encoded", "GET", HOST "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
     "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"),
    VECTOR("get-vanilla-query-order-key", "GET", HOST "/?Param1=value2&Param1=Value1",
     "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1"),
    VECTOR("get-vanilla-query-order-key-case", "GET", HOST "/?Param2=value2&Param1=value1",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    VECTOR("get-vanilla-query-order-value", "GET", HOST "/?Param1=value2&Param1=value1",
     "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"),
    VECTOR("get-vanilla-query-unreserved", "GET", HOST "/?" UNRESERVED "=" UNRESERVED,
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
    VECTOR("get-vanilla-utf8-query", "GET", HOST "/?\u1234=bar",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    VECTOR("get-vanilla-with-session-token", "GET", HOST,
     "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8", 
     .session = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
    VECTOR("get-header-key-duplicate", "GET", HOST,
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
     .headers = {"My-Header1:value2", "My-Header1:value2", "My-Header1:value1"}),
    VECTOR("get-header-value-order", "GET", HOST,
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
     .headers = {"My-Header1:value4", "My-Header1:value1", "My-Header1:value3", "My-Header1:value2"}),
    VECTOR("get-header-value-trim", "GET", HOST,
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
     .headers = {"My-Header1: value1", "My-Header2: \"a   b   c\" "}),
    VECTOR("post-header-key-sort", "POST", HOST,
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
     .headers = {"My-Header1:value1"}),
    VECTOR("post-header-value-case", "POST", HOST,
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
     .headers = {"My-Header1:VALUE1"}),
    VECTOR("post-vanilla", "POST", HOST, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    VECTOR("post-vanilla-query", "POST", HOST "/?Param1=value1",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
    VECTOR("post-x-www-form-urlencoded", "POST", HOST,
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
     .headers = {FORM}, .body = "Param1=value1"),
    VECTOR("post-x-www-form-urlencoded-parameters", "POST", HOST,
     "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
     .headers = {FORM "; charset=utf8"}, .body = "Param1=value1"),
    VECTOR("post-sts-header-before", "POST", HOST,
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead", .session = TOKEN),
    VECTOR("ListUsers of the documentation", "GET",
     "https://iam.amazonaws.com:443/?Version=2010-05-08&Action=ListUsers",
     "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
     .headers = {FORM "; charset=utf-8"}, .service = "iam"),
};

/* The last header that has the name. */
static const char *header_of(const struct http_request *request, const char *name)
{
    const char *found = NULL;

    for (const struct curl_slist *line = request->headers; line; line = line->next)
        if (!strncmp(line->data, name, strlen(name)) && line->data[strlen(name)] == ':')
            found = line->data;
    return found;
}

static void signs_as_published(void **state)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *vector = &vectors[i];
        struct http_request request = {.method = vector->method};
        struct aws_keys keys = {strdup("AKIDEXAMPLE"), strdup("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                                vector->session ? strdup(vector->session) : NULL};
        const char *authorization;

        assert_int_equal(http_request_url(&request, "%s", vector->url), 0);
        for (size_t j = 0; vector->headers[j]; j++)
            assert_int_equal(http_request_header(&request, "%s", vector->headers[j]), 0);
        if (vector->body) {
            request.body = strdup(vector->body);
            request.body_size = strlen(vector->body);
        }
        assert_int_equal(aws_sign(*state, &request, &keys, "us-east-1",
                                  vector->service ? vector->service : "service", NOW), 0);
        authorization = header_of(&request, "Authorization");
        assert_non_null(authorization);
        if (!strstr(authorization, vector->signature))
            fail_msg("%s: %s", vector->name, authorization);
        assert_string_equal(header_of(&request, "X-Amz-Date"), "X-Amz-Date: 20150830T123600Z");
        assert_int_equal(!header_of(&request, "X-Amz-Security-Token"), !vector->session);
        http_request_free(&request);
        aws_keys_wipe(&keys);
    }
}

static void says_what_is_signed(void **state)
{
    struct http_request request = {.method = "POST"};
    struct aws_keys keys = {strdup("AKID"), strdup("secret"), strdup("session")};

    http_request_url(&request, "http://127.0.0.1:9324");
    http_request_header(&request, "X-Amz-Target: AmazonSQS.ReceiveMessage");
    http_request_json(&request, strdup("{}"));
    assert_int_equal(aws_sign(*state, &request, &keys, "eu-central-1", "sqs", NOW), 0);
    assert_non_null(strstr(header_of(&request, "Authorization"),
                           " Credential=AKID/20150830/eu-central-1/sqs/aws4_request, SignedHeaders="
                           "content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="));
    http_request_free(&request);
    aws_keys_wipe(&keys);
    assert_null(keys.secret);
}

/* The header Host has no default port, so the signature must not have it either. */
static void leaves_out_default_ports(void **state)
{
    static const struct {
        const char *url, *host;
    } rows[] = {{"https://h:443/x", "h"},     {"http://h:80", "h"},        {"https://h:80/", "h:80"},
                {"http://h:443?q", "h:443"},  {"http://[::1]:80/", "[::1]"}, {"http://[::1]", "[::1]"},
                {"http://[::1]:81", "[::1]:81"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct url url = split_url(rows[i].url);

        assert_int_equal(url.host_size, strlen(rows[i].host));
        assert_memory_equal(url.host, rows[i].host, url.host_size);
    }
}

/* A key is that of its day, region, service and secret, whatever was signed before. */
static void makes_a_key_when_it_is_another(void **state)
{
    static const struct {
        const char *secret, *region, *service;
        int64_t now_s;
    } rows[] = {{"a", "r", "s", NOW}, {"b", "r", "s", NOW}, {"a", "q", "s", NOW}, {"a", "r", "t", NOW},
                {"a", "r", "s", NOW + 86400}, {"a", "r", "s", NOW}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct aws_signer *fresh = aws_signer_new(), *signers[] = {*state, fresh};
        struct aws_keys keys = {strdup("AKID"), strdup(rows[i].secret), NULL};
        char *found[2];

        for (size_t j = 0; j < 2; j++) {
            struct http_request request = {.method = "POST"};

            http_request_url(&request, "http://h/");
            assert_int_equal(aws_sign(signers[j], &request, &keys, rows[i].region, rows[i].service,
                                      rows[i].now_s), 0);
            found[j] = strdup(header_of(&request, "Authorization"));
            http_request_free(&request);
        }
        assert_string_equal(found[0], found[1]);
        free(found[0]);
        free(found[1]);
        aws_keys_wipe(&keys);
        aws_signer_free(fresh);
    }
}

static int make_signer(void **state)
{
    *state = aws_signer_new();
    return *state ? 0 : -1;
}

static int free_signer(void **state)
{
    aws_signer_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_published),
        cmocka_unit_test(says_what_is_signed),
        cmocka_unit_test(leaves_out_default_ports),
        cmocka_unit_test(makes_a_key_when_it_is_another),
    };

    return cmocka_run_group_tests(tests, make_signer, free_signer);
}
