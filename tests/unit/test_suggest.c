/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/suggest.h"

static void test_nearest(void **state)
{
    static const char *const words[] = {"batch", "order",  "target", "retry",
                                        "size",  "window", NULL};
    static const char *const table[][2] = {
        {"ordr", "order"},
        {"oredr", "order"},
        {"batches", "batch"},
        {"sise", "size"},
        {"retri", "retry"},
        {"tarket", "target"},
        {"win", "window"},
        {"windows", "window"},
        {"xyz", NULL},
        {"b", NULL},
        {"", NULL},
        {"sizes of batches", "size"},
        {"idempotency", NULL},
    };
    size_t i, j;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct suggest suggest = suggest_begin(table[i][0]);

        for (j = 0; words[j]; j++)
            suggest_offer(&suggest, words[j]);
        if (!table[i][1] != !suggest.nearest ||
            (suggest.nearest && strcmp(suggest.nearest, table[i][1]) != 0))
            fail_msg("%s: found %s, expected %s", table[i][0],
                     suggest.nearest ? suggest.nearest : "none",
                     table[i][1] ? table[i][1] : "none");
    }
}

static void test_long_words(void **state)
{
    char word[1000];
    struct suggest suggest = suggest_begin(word);

    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    suggest_offer(&suggest, "aaaa");
    assert_null(suggest.nearest);
    suggest = suggest_begin("aaaa");
    suggest_offer(&suggest, word);
    assert_null(suggest.nearest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_long_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
