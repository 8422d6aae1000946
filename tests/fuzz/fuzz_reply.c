/* SPDX-License-Identifier: MIT
 * Answers of functions. What is judged as done must say so, and nothing may be passed by mistake. */
#include "fuzz.h"

#include <string.h>

#include <jansson.h>

#include "core/reply.h"

#define RECORDS 3

static struct sluice_message messages[RECORDS] = {{.position = 100}, {.position = 101}, {.position = 7}};
static const struct envelope_record records[RECORDS] = {
    {.message = &messages[0], .source = "orders", .partition = 0, .token = "a", .token_size = 1},
    {.message = &messages[1], .source = "orders", .partition = 0, .token = "b\"c", .token_size = 3},
    {.message = &messages[2], .source = "orders", .partition = 3, .token = "d\0e", .token_size = 3}};

static bool says_nothing(const char *text, size_t size)
{
    json_t *json, *failures;
    bool nothing;

    while (size && strchr(" \t\r\n", *text) && *text)
        text++, size--;
    if (!size)
        return true;
    json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    failures = json_object_get(json, "batchItemFailures");
    nothing = json_is_null(json) || (json_is_string(json) && !json_string_length(json)) ||
              (json_is_array(json) && !json_array_size(json)) ||
              (json_is_object(json) && !json_object_size(json)) || json_is_null(failures) ||
              (json_is_array(failures) && !json_array_size(failures));
    json_decref(json);
    return nothing;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum envelope_format formats[] = {ENVELOPE_LAMBDA, ENVELOPE_JSON};

    for (size_t i = 0; i < 2; i++) {
        const struct envelope_context context = {formats[i], "m", "kafka", "h:9092"};
        bool failed[RECORDS];
        struct fault fault = {""};
        enum reply_kind kind = reply_judge(&context, records, RECORDS, (const char *)data, size, failed, &fault);
        int count = failed[0] + failed[1] + failed[2];

        if (kind == REPLY_DONE)
            MUST(!count && says_nothing((const char *)data, size));
        else if (kind == REPLY_PARTIAL)
            MUST(count);
        else
            MUST(fault.text[0]);
    }
    return 0;
}
