/* SPDX-License-Identifier: MIT */
#include "service/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void formats_are_negotiated(void **state)
{
    static const struct {
        const char *accept;
        enum metrics_format format;
    } cases[] = {
        {NULL, METRICS_TEXT},
        {"", METRICS_TEXT},
        {"*/*", METRICS_TEXT},
        {"text/html,application/xhtml+xml,*/*;q=0.8", METRICS_TEXT},
        {"application/openmetrics-text", METRICS_OPENMETRICS},
        {"application/openmetrics-text2", METRICS_TEXT},
        {"Application/OpenMetrics-Text; version=1.0.0", METRICS_OPENMETRICS},
        {"application/openmetrics-text;q=0", METRICS_TEXT},
        {"application/openmetrics-text;q=0.4,text/plain;q=0.5", METRICS_TEXT},
        {"text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0; q=0.75",
         METRICS_OPENMETRICS},
        /* Prometheus 2.42 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
         "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         METRICS_OPENMETRICS},
        {"application/openmetrics-text;;q=0,text/plain;q=nan", METRICS_TEXT},
        {"application/openmetrics-text;q=1e300", METRICS_OPENMETRICS},
        {",, ;q=", METRICS_TEXT},
        {"application/openmetrics-text;q=", METRICS_TEXT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(metrics_choose(cases[i].accept), cases[i].format);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_negotiated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
