/* SPDX-License-Identifier: MIT
 * A line of `sluice dlq import`: what is taken is written again as `export` would, and read as the same. */
#include "fuzz.h"

#include <string.h>

#include "cli/dlq_inside.h"
#include "cli/dlq_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fault fault = {""};
    struct dlq_parsed first, second;
    char *written, *again;
    json_t *json;

    if (dlq_parse_letter((const char *)data, size, &first, &fault) != 0) {
        MUST(fault.text[0]);
        return 0;
    }
    json = dlq_json_letter(&first.letter, true);
    written = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(json);
    MUST(written);
    if (dlq_parse_letter(written, strlen(written), &second, &fault) != 0) {
        fprintf(stderr, "%s: %s\n", written, fault.text);
        abort();
    }
    json = dlq_json_letter(&second.letter, true);
    again = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(json);
    MUST(again && strcmp(written, again) == 0);
    free(again);
    free(written);
    dlq_parsed_fini(&second);
    dlq_parsed_fini(&first);
    return 0;
}
