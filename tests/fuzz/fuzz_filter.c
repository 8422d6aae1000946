/* SPDX-License-Identifier: MIT
 * Filters and payloads: the first line is a pattern, the rest a payload. */
#include "fuzz.h"

#include <string.h>

#include "core/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    size_t first = end ? (size_t)(end - data) : size, rest = end ? size - first - 1 : 0;
    json_t *pattern = json_loadb((const char *)data, first, JSON_REJECT_DUPLICATES, NULL);
    struct sluice_header header = {{"region", 6}, {"eu-1", 4}};
    struct filter_message message = {
        .payload = {end ? (const void *)(end + 1) : "", rest},
        .key = {"k1", 2},
        .headers = &header,
        .header_count = 1,
        .source = "orders",
        .partition = 3,
        .has_timestamp = true,
        .timestamp_ms = 1000,
    };
    struct fault fault = {""};
    const json_t *where = NULL;
    struct buffer scratch;
    struct filter *filter;

    if (!pattern)
        return 0;
    buffer_init(&scratch, 1 << 20);
    filter = filter_compile(pattern, &fault, &where);
    MUST(filter || fault.text[0]);
    if (filter) {
        enum filter_match match = filter_try(filter, &message, &scratch, &fault);

        MUST(match == FILTER_NO || match == FILTER_YES || (match == FILTER_UNTOLD && fault.text[0]));
        MUST(filter_try(filter, &message, &scratch, &fault) == match);
        filter_free(filter);
    }
    buffer_fini(&scratch);
    json_decref(pattern);
    return 0;
}
