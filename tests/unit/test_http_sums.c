/* SPDX-License-Identifier: MIT
 * MD5 of several texts at once, and what messages of SQS are held to by it. The connector is a plugin, so its
 * files are taken in whole. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../connectors/http/base64.c"
#include "../../connectors/http/dialect.c"
#include "../../connectors/http/hashes.c"
#include "../../connectors/http/json_slice.c"
#include "../../connectors/http/md5_many.c"
#include "../../connectors/http/sqs_sums.c"

static struct sqs sqs;

static int make_hashes(void **state)
{
    (void)state;
    sqs.hashes = hashes_new();
    return sqs.hashes ? 0 : -1;
}

static int free_hashes(void **state)
{
    (void)state;
    hashes_free(sqs.hashes);
    return 0;
}

/* ---- sums ---- */

/* RFC 1321, appendix A.5. */
static void as_the_rfc_has_them(void **state)
{
    static const char *const rows[][2] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"}};
    enum { COUNT = sizeof rows / sizeof *rows };
    unsigned char found[COUNT][MD5_SIZE];
    struct md5_text texts[COUNT];
    char hex[HASHES_MD5_HEX];

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        texts[i] = (struct md5_text){*rows[i][0] ? rows[i][0] : NULL, strlen(rows[i][0])};
    md5_many(texts, COUNT, found);
    for (size_t i = 0; i < COUNT; i++) {
        hashes_hex(found[i], MD5_SIZE, hex);
        assert_string_equal(hex, rows[i][1]);
    }
}

/* Each text alone in memory, so that reading beyond it is noticed. */
static void fill(struct md5_text *text, size_t size, unsigned seed)
{
    unsigned char *bytes = malloc(size ? size : 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
    *text = (struct md5_text){bytes, size};
}

static void expect_as_one_by_one(const size_t *sizes, size_t count)
{
    struct md5_text texts[MD5_MANY_MOST] = {{NULL, 0}};
    unsigned char found[MD5_MANY_MOST][MD5_SIZE];
    char many[MD5_MANY_MOST][HASHES_MD5_HEX], one[HASHES_MD5_HEX], hex[HASHES_MD5_HEX];

    for (size_t i = 0; i < count; i++)
        fill(&texts[i], sizes[i], (unsigned)(i * 1000 + sizes[i]));
    md5_many(texts, count, found);
    assert_int_equal(hashes_md5_many(sqs.hashes, texts, count, many), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hashes_md5(sqs.hashes, texts[i].data, texts[i].size, one), 0);
        hashes_hex(found[i], MD5_SIZE, hex);
        assert_string_equal(hex, one);
        assert_string_equal(many[i], one);
        free((void *)(uintptr_t)texts[i].data);
    }
}

/* Around the ends of blocks, where the padding takes one more. */
static void of_all_sizes(void **state)
{
    (void)state;
    for (size_t first = 0; first < 200; first++) {
        size_t sizes[MD5_MANY_MOST];

        for (size_t i = 0; i < MD5_MANY_MOST; i++)
            sizes[i] = (first + i * 17) % 200;
        expect_as_one_by_one(sizes, MD5_MANY_MOST);
    }
}

static void of_few_and_unequal_ones(void **state)
{
    static const size_t sizes[MD5_MANY_MOST] = {0, 262144, 1, 64, 55, 56, 1024, 1048576, 63, 65, 119, 120};

    (void)state;
    for (size_t count = 0; count <= MD5_MANY_MOST; count++)
        expect_as_one_by_one(sizes, count);
}

/* ---- messages ---- */

#define BYTES(text) {text, sizeof(text) - 1}
#define SLICE(text) {"\"" text "\"", sizeof(text) + 1}

/* Whichever of them was changed is named. */
static void a_changed_body_is_named(void **state)
{
    static const struct sluice_bytes ids[] = {BYTES("m-0"), BYTES("m-1"), BYTES("m-2"), BYTES("m-3"), BYTES("m-4")};
    static const struct json_slice sum = SLICE("92eb5ffee6ae2fec3ad71c777531578f"); /* of "b" */
    struct sqs_sums sums = {0};

    (void)state;
    for (size_t changed = 0; changed <= 5; changed++) {
        struct http_fault fault = {0};

        for (size_t i = 0; i < 5; i++)
            sqs_sums_add(&sums, ids[i], (struct sluice_bytes){i == changed ? "B" : "b", 1}, sum);
        assert_int_equal(sqs_sums_check(&sqs, &sums, &fault), changed < 5 ? -1 : 0);
        assert_int_equal(sums.count, 0);
        if (changed < 5) {
            assert_non_null(strstr(fault.text, ids[changed].data));
            assert_non_null(strstr(fault.text, "MD5"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_rfc_has_them),
        cmocka_unit_test(of_all_sizes),
        cmocka_unit_test(of_few_and_unequal_ones),
        cmocka_unit_test(a_changed_body_is_named),
    };

    return cmocka_run_group_tests(tests, make_hashes, free_hashes);
}
