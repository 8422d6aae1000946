/* SPDX-License-Identifier: MIT
 * What the dialects of the http connector read and write texts with: JSON slices, templates, base64,
 * assertions of service accounts. The connector is a plugin, so its files are taken in whole. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/rsa.h>

#include "../../connectors/http/base64.c"
#include "../../connectors/http/json_slice.c"
#include "../../connectors/http/jwt.c"
#include "../../connectors/http/template.c"

/* ---- JSON ---- */

/* A copy that ends where the text ends, so that reading past it is seen. */
static char *exact(const char *text, size_t size)
{
    char *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    return copy;
}

static bool is_json(const char *text)
{
    char *copy = exact(text, strlen(text));
    struct json_slice value;
    bool fine = json_slice_check(copy, strlen(text), &value);

    free(copy);
    return fine;
}

static void takes_what_is_json(void **state)
{
    static const char *const good[] = {
        "0", "-0", "1", "123456789012345678901234567890", "1e400", "-1.5E-7", "\"\"", " [ ] ",
        "{}", "[1,2 , {\"a\":null}]", "\"\\u00e9\\n\\/\"", "true", "\t{\"a\" : [false]}\r\n"};
    static const char *const bad[] = {
        "", " ", "01", "-", "1.", "1e", ".5", "+1", "[1,]", "[,1]", "[1", "{\"a\"}", "{a:1}",
        "{\"a\":1,}", "{\"a\":}", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\\", "\"\n\"", "tru", "nulL",
        "1 2", "[] x", "<html></html>", "\"\\u12"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!is_json(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (is_json(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void bounds_the_depth(void **state)
{
    char text[2 * JSON_SLICE_DEPTH + 4];
    struct json_slice value;

    for (int more = 0; more <= 1; more++) {
        size_t half = JSON_SLICE_DEPTH + (size_t)more;

        memset(text, '[', half);
        memset(text + half, ']', half);
        assert_int_equal(json_slice_check(text, 2 * half, &value), !more);
    }
}

static void expect(const char *json, const char *pointer, const char *wanted)
{
    char *copy = exact(json, strlen(json));
    struct json_slice value, found;

    assert_true(json_slice_check(copy, strlen(json), &value));
    if (!json_slice_find(value, pointer, &found)) {
        if (wanted)
            fail_msg("%s in %s found nothing, expected %s", pointer, json, wanted);
    } else if (!wanted || found.size != strlen(wanted) || memcmp(found.data, wanted, found.size)) {
        fail_msg("%s in %s found %.*s", pointer, json, (int)found.size, found.data);
    }
    free(copy);
}

static void finds_by_pointer(void **state)
{
    expect(" {\"a\": [1, {\"b\": \"x\"} ]} ", "", "{\"a\": [1, {\"b\": \"x\"} ]}");
    expect("{\"a\": [1, {\"b\": \"x\"} ]}", "/a/1/b", "\"x\"");
    expect("{\"a\": [1, {\"b\": \"x\"} ]}", "/a/0", "1");
    expect("{\"a\": [1]}", "/a/1", NULL);
    expect("{\"a\": [1]}", "/a/01", NULL);
    expect("{\"a\": [1]}", "/a/-", NULL);
    expect("{\"a\": [1]}", "/a/", NULL);
    expect("{\"a\": [1]}", "/a/0/b", NULL);
    expect("{\"a\": 1, \"ab\": 2, \"\": 3}", "/ab", "2");
    expect("{\"a\": 1, \"ab\": 2, \"\": 3}", "/", "3");
    expect("{\"a/b\": 1, \"m~n\": 2}", "/a~1b", "1");
    expect("{\"a/b\": 1, \"m~n\": 2}", "/m~0n", "2");
    expect("{\"\\u0061\": 123456789012345678901}", "/a", "123456789012345678901");
    expect("{\"a\": 1, \"a\": 2}", "/a", "2");
    expect("[]", "/0", NULL);
    assert_true(json_slice_is_pointer(""));
    assert_true(json_slice_is_pointer("/a~0/b~1"));
    assert_false(json_slice_is_pointer("a"));
    assert_false(json_slice_is_pointer("/a~2"));
    assert_false(json_slice_is_pointer("/~"));
}

static void walks_arrays(void **state)
{
    static const char json[] = "[ 1 ,\"a,]\", [2,3],{\"b\":[]} ]";
    static const char *const wanted[] = {"1", "\"a,]\"", "[2,3]", "{\"b\":[]}"};
    struct json_slice array, element;
    size_t at = 0, count = 0;

    assert_true(json_slice_check(json, sizeof json - 1, &array));
    while (json_slice_next(array, &at, &element)) {
        assert_true(count < 4);
        assert_int_equal(element.size, strlen(wanted[count]));
        assert_memory_equal(element.data, wanted[count], element.size);
        count++;
    }
    assert_int_equal(count, 4);
    at = 0;
    assert_true(json_slice_check("{\"a\":1}", 7, &array));
    assert_false(json_slice_next(array, &at, &element));
}

static void expect_text(const char *json, const char *wanted, size_t wanted_size)
{
    struct json_slice value;
    size_t size;
    char *text;

    assert_true(json_slice_check(json, strlen(json), &value));
    text = json_slice_text(value, &size);
    assert_non_null(text);
    assert_int_equal(size, wanted_size);
    assert_memory_equal(text, wanted, wanted_size + 1);
    free(text);
}

static void reads_from_front_to_back(void **state)
{
    static const char json[] = " {\"a\" : 1,\"\\u0062\":[ {\"x\":2} ,[]] , \"a\":\"x\" } ";
    struct json_reader reader;
    struct json_slice name, value;

    (void)state;
    json_reader_begin(&reader, json, sizeof json - 1);
    json_reader_enter(&reader, '{');
    assert_true(json_reader_member(&reader, &name) && json_slice_is(name, "a"));
    assert_true(json_reader_take(&reader, &value) && value.size == 1 && *value.data == '1');
    assert_true(json_reader_member(&reader, &name) && json_slice_is(name, "b"));
    assert_false(json_slice_is(name, "") || json_slice_is(name, "bb"));
    json_reader_enter(&reader, '[');
    assert_true(json_reader_element(&reader));
    assert_int_equal(json_reader_kind(&reader), '{');
    assert_true(json_reader_take(&reader, &value) && value.size == 7);
    assert_true(json_reader_element(&reader));
    json_reader_enter(&reader, '[');
    assert_false(json_reader_element(&reader));
    assert_false(json_reader_element(&reader));
    assert_true(json_reader_member(&reader, &name) && json_reader_take(&reader, &value));
    assert_true(json_slice_is(value, "x"));
    assert_false(json_reader_end(&reader));
    assert_false(json_reader_member(&reader, &name));
    assert_true(json_reader_end(&reader));
    json_reader_begin(&reader, "7", 1);
    json_reader_enter(&reader, '[');
    assert_false(json_reader_element(&reader) || json_reader_end(&reader) || json_reader_take(&reader, &value));
}

/* Descends into everything. */
static void read_all(struct json_reader *reader)
{
    char kind = json_reader_kind(reader);
    struct json_slice value;

    if (kind == '{' || kind == '[') {
        json_reader_enter(reader, kind);
        while (kind == '{' ? json_reader_member(reader, &value) : json_reader_element(reader))
            read_all(reader);
    } else {
        json_reader_take(reader, &value);
    }
}

/* Wherever an end, an escape or a control character stands among others. */
static void finds_the_end_of_strings(void **state)
{
    (void)state;
    for (size_t size = 0; size < 180; size++)
        for (size_t place = 0; place < size; place++)
            for (const char *odd = "\"\\\x1f\n \x7f\x80\xff!#["; *odd; odd++) {
                char text[200], copy[200];
                struct json_slice value;
                bool fine = *odd != '\x1f' && *odd != '\n' && *odd != '"';

                memset(text, 'x', sizeof text);
                text[0] = '"';
                text[place + 1] = *odd;
                text[place + 2] = place + 1 < size && *odd == '\\' ? 'n' : text[place + 2];
                text[size + 1] = '"';
                fine = fine && !(*odd == '\\' && place + 1 == size);
                assert_int_equal(json_slice_check(text, size + 2, &value), fine);
                if (!fine)
                    continue;
                assert_int_equal(json_slice_copy(value, copy), size - (*odd == '\\'));
                assert_int_equal(copy[place], *odd == '\\' ? '\n' : *odd);
            }
}

static void reads_strings(void **state)
{
    expect_text("\"\"", "", 0);
    expect_text("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "a\"\\/\b\f\n\r\tz", 10);
    expect_text("\"\\u0000\\u00e9\\u20ac\\ud83d\\ude00\"", "\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10);
    expect_text("\"\\ud83d!\\ude00\"", "\xef\xbf\xbd!\xef\xbf\xbd", 7);
    expect_text("12.50", "12.50", 5);
    expect_text("{\"a\": 1}", "{\"a\": 1}", 8);
}

/* Random damage to a text, against jansson's opinion of it. */
static void agrees_with_jansson(void **state)
{
    static const char whole[] =
        "{\"a\": [1, -2.5e3, \"x\\u00e9\\n\", {\"b\": null, \"c\": [true, false, []]}], \"\": {}}";
    int taken = 0;

    srand(4711);
    for (int i = 0; i < 200000; i++) {
        size_t size = sizeof whole - 1;
        struct json_slice value;
        struct json_reader reader;
        char text[sizeof whole], *copy;
        json_error_t error;
        json_t *json;
        bool fine;

        memcpy(text, whole, size);
        for (int damage = rand() % 3; damage >= 0; damage--)
            text[rand() % (int)size] = "[]{},:\"\\ 0-e.tun1"[rand() % 17];
        if (rand() % 4 == 0)
            size = (size_t)rand() % size;
        copy = exact(text, size);
        fine = json_slice_check(copy, size, &value);
        json_reader_begin(&reader, copy, size);
        read_all(&reader);
        assert_int_equal(json_reader_end(&reader), fine);
        json = json_loadb(copy, size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
                          &error);
        /* What jansson refuses beyond the grammar: numbers and surrogates that it cannot hold. */
        if (fine != (json != NULL) && !strstr(error.text, "overflow") && !strstr(error.text, "\\u"))
            fail_msg("%s: %.*s (%s)", fine ? "taken" : "refused", (int)size, copy, error.text);
        taken += fine;
        json_decref(json);
        free(copy);
    }
    assert_true(taken > 1000);
}

/* ---- templates ---- */

#define ALL ((1u << TEMPLATE_NAMES) - 1)

static struct json_slice slice(const char *text)
{
    return (struct json_slice){text, strlen(text)};
}

static void fill(enum template_place place, const char *text, const char *wanted)
{
    struct json_slice receipts[] = {slice("\"r/\\\"1\""), slice("17")};
    struct template_values values = {
        .receipts = receipts, .receipt_count = 2, .id = slice("12345678901234567890"),
        .delay_s = 5, .lease_s = 30, .count = 10, .body = {"a\"b\n", 4}, .key = {"k 1", 3},
        .secret = "s&t"};
    char problem[200] = "", *filled;
    struct template template;
    size_t size;

    if (template_read(text, place, ALL, &template, problem, sizeof problem))
        fail_msg("%s: %s", text, problem);
    filled = template_fill(&template, &values, 1000, &size, problem, sizeof problem);
    if (!filled)
        fail_msg("%s: %s", text, problem);
    assert_string_equal(filled, wanted);
    assert_int_equal(size, strlen(wanted));
    free(filled);
    template_free(&template);
}

static void fills_by_place(void **state)
{
    fill(TEMPLATE_URL, "http://h/q/{id}/{receipt}?n={count}&key={secret}",
         "http://h/q/12345678901234567890/r%2F%221?n=10&key=s%26t");
    fill(TEMPLATE_JSON, "{\"r\": \"{receipt}\", \"id\": {id}, \"d\": {delay}, \"b\": \"{body}\"}",
         "{\"r\": \"r/\\\"1\", \"id\": 12345678901234567890, \"d\": 5, \"b\": \"a\\\"b\\u000a\"}");
    fill(TEMPLATE_JSON, "[{receipts}]", "[\"r/\\\"1\",17]");
    fill(TEMPLATE_JSON, "{\"a\": {\"b\": {}}}", "{\"a\": {\"b\": {}}}");
    fill(TEMPLATE_FORM, "id={receipt}&lease={lease}", "id=r%2F%221&lease=30");
    fill(TEMPLATE_RAW, "{body}", "a\"b\n");
    fill(TEMPLATE_RAW, "{body_base64} {key}", "YSJiCg== k 1");
    fill(TEMPLATE_HEADER, "Bearer {secret}", "Bearer s&t");
    fill(TEMPLATE_RAW, "", "");
}

static void refuse(const char *text, unsigned allowed, const char *part)
{
    char problem[300] = "";
    struct template template;

    assert_int_equal(template_read(text, TEMPLATE_JSON, allowed, &template, problem, sizeof problem), -1);
    if (!strstr(problem, part))
        fail_msg("%s: %s", text, problem);
}

static void refuses_unknown_names(void **state)
{
    char many[TEMPLATE_PARTS * 4 + 8] = "";

    refuse("{recipt}", ALL, "found {recipt}, expected {receipt}, {receipts}");
    refuse("/{body}", 1u << TEMPLATE_RECEIPT, "found {body}, expected {receipt} or no braces");
    for (int i = 0; i <= TEMPLATE_PARTS; i++)
        strcat(many, "{id}");
    refuse(many, ALL, "more than 64 pieces");
}

static void cannot_fill(enum template_place place, const char *text, const char *body, size_t size,
                        const char *part)
{
    struct template_values values = {.body = {body, size}};
    char problem[200] = "";
    struct template template;
    size_t filled;

    assert_int_equal(template_read(text, place, ALL, &template, problem, sizeof problem), 0);
    assert_null(template_fill(&template, &values, 8, &filled, problem, sizeof problem));
    if (!strstr(problem, part))
        fail_msg("%s: %s", text, problem);
    template_free(&template);
}

static void cannot_fill_everything(void **state)
{
    cannot_fill(TEMPLATE_JSON, "\"{body}\"", "\xff", 1, "not UTF-8");
    cannot_fill(TEMPLATE_JSON, "\"{body}\"", "\xed\xa0\x80", 3, "not UTF-8");
    cannot_fill(TEMPLATE_JSON, "\"{body}\"", "\xc3", 1, "not UTF-8");
    cannot_fill(TEMPLATE_JSON, "{body_json}", "x", 1, "no JSON");
    cannot_fill(TEMPLATE_JSON, "{body_json}", NULL, 0, "no JSON");
    cannot_fill(TEMPLATE_HEADER, "{body}", "a\r\nb", 4, "control character");
    cannot_fill(TEMPLATE_RAW, "{body}", "123456789", 9, "more than 8 bytes");
    cannot_fill(TEMPLATE_RAW, "{body_base64}", "123456789", 9, "too large");
}

/* ---- base64 ---- */

static void base64_both_ways(void **state)
{
    unsigned char data[70];
    char text[BASE64_ROOM(sizeof data)];

    for (size_t size = 0; size <= sizeof data; size++)
        for (int url = 0; url <= 1; url++) {
            size_t length, back_size;
            void *back;

            for (size_t i = 0; i < size; i++)
                data[i] = (unsigned char)(i * 37 + size * 11);
            length = base64_encode(data, size, text, url);
            assert_int_equal(length, strlen(text));
            assert_null(strpbrk(text, url ? "+/=" : "-_"));
            back = base64_decode(text, length, &back_size);
            assert_non_null(back);
            assert_int_equal(back_size, size);
            assert_memory_equal(back, data, size);
            free(back);
        }
}

static void base64_known_answers(void **state)
{
    static const char *const bad[] = {"A", "AAAAA", "A=A=", "AA=A", "====", "QUJD\n", "QU JD", "QUJ*"};
    char text[16];
    size_t size;

    base64_encode("foob", 4, text, 0);
    assert_string_equal(text, "Zm9vYg==");
    base64_encode("\xfb\xff", 2, text, 1);
    assert_string_equal(text, "-_8");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (base64_decode(bad[i], strlen(bad[i]), &size))
            fail_msg("taken: %s", bad[i]);
}

/* ---- service accounts ---- */

static char *pem_of(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data, *text;
    long size;

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    size = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t)size);
    BIO_free(bio);
    return text;
}

static char *key_file(const char *type, const char *pem, const char *token_uri)
{
    json_t *file = json_pack("{ss ss* ss ss ss*}", "type", type, "private_key", pem, "client_email",
                             "a@b.example", "private_key_id", "k1", "token_uri", token_uri);
    char *text = json_dumps(file, 0);

    json_decref(file);
    return text;
}

static void assertions_are_signed(void **state)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    char *pem = pem_of(key), *file = key_file("service_account", pem, "https://t.example/token");
    char problem[300] = "", *assertion, *point, *claims_text;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    struct jwt_account account;
    size_t size, claims_size;
    unsigned char *signature;
    json_t *claims;

    assert_int_equal(jwt_account_read(file, strlen(file), &account, problem, sizeof problem), 0);
    assertion = jwt_assertion(&account, "scope", 1700000000);
    assert_non_null(assertion);
    point = strrchr(assertion, '.');
    signature = base64_decode(point + 1, strlen(point + 1), &size);
    assert_non_null(signature);
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(context, signature, size, (unsigned char *)assertion,
                                      (size_t)(point - assertion)), 1);
    *point = '\0';
    point = strchr(assertion, '.');
    claims_text = base64_decode(point + 1, strlen(point + 1), &claims_size);
    claims = json_loadb(claims_text, claims_size, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(claims, "iss")), "a@b.example");
    assert_string_equal(json_string_value(json_object_get(claims, "aud")), "https://t.example/token");
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")), 1700003600);
    json_decref(claims);
    free(claims_text);
    free(signature);
    free(assertion);
    jwt_account_free(&account);
    EVP_MD_CTX_free(context);
    free(file);
    free(pem);
    EVP_PKEY_free(key);
}

static void refuse_file(char *file, const char *part)
{
    char problem[300] = "";
    struct jwt_account account;

    assert_int_equal(jwt_account_read(file, strlen(file), &account, problem, sizeof problem), -1);
    if (!strstr(problem, part))
        fail_msg("%s", problem);
    assert_null(strstr(problem, "geheim"));
    free(file);
}

static void bad_key_files(void **state)
{
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    char *pem = pem_of(curve);

    refuse_file(strdup("geheim"), "no JSON object");
    refuse_file(strdup("[]"), "no JSON object");
    refuse_file(strdup("{\"type\": 3}"), "no \"type\"");
    refuse_file(key_file("authorized_user", "geheim", "https://t"), "authorized_user");
    refuse_file(key_file("service_account", NULL, "https://t"), "no \"private_key\"");
    refuse_file(key_file("service_account", "geheim", NULL), "no \"token_uri\"");
    refuse_file(key_file("service_account", "geheim", "ftp://t"), "expected an https");
    refuse_file(key_file("service_account", "geheim", "https://t"), "no RSA key");
    refuse_file(key_file("service_account", pem, "https://t"), "no RSA key");
    free(pem);
    EVP_PKEY_free(curve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_json),    cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(finds_by_pointer),      cmocka_unit_test(walks_arrays),
        cmocka_unit_test(reads_from_front_to_back), cmocka_unit_test(finds_the_end_of_strings),
        cmocka_unit_test(reads_strings),         cmocka_unit_test(agrees_with_jansson),
        cmocka_unit_test(fills_by_place),        cmocka_unit_test(refuses_unknown_names),
        cmocka_unit_test(cannot_fill_everything), cmocka_unit_test(base64_both_ways),
        cmocka_unit_test(base64_known_answers),  cmocka_unit_test(assertions_are_signed),
        cmocka_unit_test(bad_key_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
