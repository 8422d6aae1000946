/* SPDX-License-Identifier: MIT */
#include "core/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/random.h"
#include "io/otlp.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

/* W3C Trace Context, sections 3.2.2 to 3.2.4. */
static void parents_are_read(void **state)
{
    static const struct {
        const char *value;
        int flags; /* -1: it is none */
    } cases[] = {
        {"00-" TRACE "-" SPAN "-01", 1},
        {"00-" TRACE "-" SPAN "-00", 0},
        {"00-" TRACE "-" SPAN "-ff", 255},
        {"cc-" TRACE "-" SPAN "-01", 1},
        {"cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like", 1},
        {"cc-" TRACE "-" SPAN "-01.what-the-future-will-not-be-like", -1},
        {"00-" TRACE "-" SPAN "-01-", -1},
        {"00-" TRACE "-" SPAN "-1", -1},
        {"00-" TRACE "-" SPAN "-0x", -1},
        {"ff-" TRACE "-" SPAN "-01", -1},
        {"0-" TRACE "-" SPAN "-01", -1},
        {"00-00000000000000000000000000000000-" SPAN "-01", -1},
        {"00-" TRACE "-0000000000000000-01", -1},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", -1},
        {"00_" TRACE "-" SPAN "-01", -1},
        {"00-" TRACE "_" SPAN "-01", -1},
        {"00-" TRACE "-" SPAN "_01", -1},
        {"", -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].value);
        char *value = malloc(size + 1); /* so that a sanitizer sees what is read beyond it */
        struct trace_parent parent = {.flags = 77};
        bool found;

        memcpy(value, cases[i].value, size);
        value = realloc(value, size ? size : 1);
        found = trace_read(value, size, &parent);
        if (found != (cases[i].flags >= 0))
            fail_msg("%s", cases[i].value);
        if (found) {
            assert_string_equal(parent.trace_id, TRACE);
            assert_string_equal(parent.span_id, SPAN);
        }
        assert_int_equal(parent.flags, found ? cases[i].flags : 77);
        free(value);
    }
}

static void a_share_is_kept_by_the_id_alone(void **state)
{
    struct random random = {.state = 42};
    unsigned kept = 0, kept_of_more = 0;

    for (int i = 0; i < 100000; i++) {
        char id[33];
        bool one;

        snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)random_next(&random),
                 (unsigned long long)random_next(&random));
        one = trace_is_kept(id, 0.01);
        kept += one;
        kept_of_more += trace_is_kept(id, 0.5);
        assert_false(one && !trace_is_kept(id, 0.5)); /* who keeps more keeps these too */
        assert_false(trace_is_kept(id, 0));
        assert_true(trace_is_kept(id, 1));
    }
    assert_in_range(kept, 850, 1150);
    assert_in_range(kept_of_more, 49000, 51000);
}

static void the_receiver_may_reject_some(void **state)
{
    static const struct {
        const char *body;
        uint64_t count;
    } cases[] = {{"{}", 0},
                 {"", 0},
                 {"no JSON", 0},
                 {"[]", 0},
                 {"{\"partialSuccess\":{\"rejectedSpans\":\"12\",\"errorMessage\":\"x\"}}", 12},
                 {"{\"partialSuccess\":{\"rejectedSpans\":3}}", 3},
                 {"{\"partialSuccess\":{\"rejectedSpans\":-3}}", 0},
                 {"{\"partialSuccess\":{\"rejectedSpans\":\"many\"}}", 0},
                 {"{\"partialSuccess\":null}", 0}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(otlp_rejected(cases[i].body, strlen(cases[i].body)), cases[i].count);
}

/* Whatever a message or an answer holds, the request is JSON. */
static void any_bytes_can_be_told(void **state)
{
    struct span *span = calloc(1, sizeof *span + sizeof span->links[0]);
    json_t *request, *found;
    char *text;

    memcpy(span->self.trace_id, TRACE, 33);
    memcpy(span->self.span_id, SPAN, 17);
    snprintf(span->destination, sizeof span->destination, "\xff\x01\"\n");
    snprintf(span->error, sizeof span->error, "\xc3");
    span->failed = true;
    span->partition = -1;
    text = otlp_write(span, "host");
    assert_non_null(text);
    request = json_loads(text, 0, NULL);
    assert_non_null(request);
    found = json_array_get(json_object_get(request, "resourceSpans"), 0);
    found = json_array_get(json_object_get(found, "scopeSpans"), 0);
    found = json_array_get(json_object_get(found, "spans"), 0);
    assert_string_equal(json_string_value(json_object_get(found, "name")),
                        "process \xef\xbf\xbd\x01\"\n");
    assert_string_equal(json_string_value(json_object_get(found, "spanId")), SPAN);
    assert_null(json_object_get(found, "parentSpanId"));
    json_decref(request);
    free(text);
    free(span);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parents_are_read),
        cmocka_unit_test(a_share_is_kept_by_the_id_alone),
        cmocka_unit_test(the_receiver_may_reject_some),
        cmocka_unit_test(any_bytes_can_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
