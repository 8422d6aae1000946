/* SPDX-License-Identifier: MIT */
#include "cli/schema_filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

static const char filter[] =
    "{'anyOf': ["
    "  {'type': 'null'},"
    "  {'$ref': '#/$defs/pattern'},"
    "  {'type': 'array', 'minItems': 1, 'maxItems': 32, 'items': {'$ref': '#/$defs/pattern'}}]}";

#define OBJECT   "'type': 'object', 'minProperties': 1, "
#define ONE      "'type': 'object', 'minProperties': 1, 'maxProperties': 1, 'additionalProperties': false, "
#define OR(of_)  "'$or': {'type': 'array', 'minItems': 2, 'maxItems': 32, 'items': {'$ref': '" of_ "'}}"
#define OR_LIST(of_) "{'anyOf': [" of_ ", {'type': 'array', 'minItems': 1, 'items': " of_ "}]}"
#define BOUNDS(first_, second_)                                                                    \
    "{'type': 'array', 'minItems': 4, 'maxItems': 4, 'prefixItems': ["                             \
    "{'enum': " first_ "}, {'type': 'number'}, {'enum': " second_ "}, {'type': 'number'}]}"

static const char definitions[] =
    "{'pattern': {" OBJECT "'additionalProperties': false,"
    "   'description': 'Parts of a message, of which all must match.', 'properties': {"
    "   'value': {'$ref': '#/$defs/field'}, 'key': {'$ref': '#/$defs/field'},"
    "   'headers': {'$ref': '#/$defs/headers'}, 'source': {'$ref': '#/$defs/tests'},"
    "   'partition': {'$ref': '#/$defs/tests'}, 'timestamp': {'$ref': '#/$defs/tests'},"
    OR("#/$defs/pattern") "}},"
    "'field': {'anyOf': [{'$ref': '#/$defs/tests'}, {'$ref': '#/$defs/fields'}]},"
    "'fields': {" OBJECT "'additionalProperties': {'$ref': '#/$defs/field'},"
    "   'properties': {" OR("#/$defs/fields") "}},"
    "'headers': {" OBJECT "'additionalProperties': {'$ref': '#/$defs/tests'},"
    "   'properties': {" OR("#/$defs/headers") "}},"
    "'tests': {'type': 'array', 'minItems': 1, 'description': 'What it may be: one must match.',"
    "   'items': {'anyOf': [{'$ref': '#/$defs/scalar'}, {'$ref': '#/$defs/operator'}]}},"
    "'scalar': {'type': ['string', 'number', 'boolean', 'null']},"
    "'operator': {" ONE "'properties': {'exists': {'type': 'boolean'},"
    "   'prefix': {'$ref': '#/$defs/end'}, 'suffix': {'$ref': '#/$defs/end'},"
    "   'equals-ignore-case': {'type': 'string'}, 'anything-but': {'$ref': '#/$defs/exceptions'},"
    "   'numeric': {'$ref': '#/$defs/range'}, 'wildcard': {'$ref': '#/$defs/wildcard'},"
    "   'cidr': {'$ref': '#/$defs/network'}}},"
    "'end': {'anyOf': [{'type': 'string'},"
    "   {" ONE "'properties': {'equals-ignore-case': {'type': 'string'}}}]},"
    "'wildcard': {'type': 'string', 'pattern': '^([^*\\\\\\\\]|\\\\\\\\[*\\\\\\\\]|[*](?![*]))*$'},"
    "'network': {'type': 'string', 'pattern': '^[0-9a-fA-F.:]+/[0-9]{1,3}$'},"
    "'range': {'anyOf': [{'type': 'array', 'minItems': 2, 'maxItems': 2, 'prefixItems': ["
    "   {'enum': ['=', '>', '>=', '<', '<=']}, {'type': 'number'}]},"
    BOUNDS("['>', '>=']", "['<', '<=']") ", " BOUNDS("['<', '<=']", "['>', '>=']") "]},"
    "'exceptions': " OR_LIST("{'anyOf': [{'$ref': '#/$defs/scalar'}, {'$ref': '#/$defs/exception'}]}")
    ",'exception': {" ONE "'properties': {'prefix': " OR_LIST("{'$ref': '#/$defs/end'}")
    ", 'suffix': " OR_LIST("{'$ref': '#/$defs/end'}")
    ", 'equals-ignore-case': " OR_LIST("{'type': 'string'}")
    ", 'numeric': {'$ref': '#/$defs/range'}"
    ", 'wildcard': " OR_LIST("{'$ref': '#/$defs/wildcard'}")
    ", 'cidr': " OR_LIST("{'$ref': '#/$defs/network'}") "}}}";

/* The text has ' for ", to be read by people. */
static json_t *parse(const char *text, size_t size)
{
    char *copy = memory_new(size);
    json_error_t error;
    json_t *json;

    for (size_t i = 0; i < size; i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    json = json_loadb(copy, size - 1, JSON_REJECT_DUPLICATES, &error);
    free(copy);
    if (json)
        return json;
    fprintf(stderr, "sluice schema: its own text is wrong: %s\n", error.text);
    abort();
}

json_t *schema_filter(void)
{
    return parse(filter, sizeof filter);
}

json_t *schema_filter_definitions(void)
{
    return parse(definitions, sizeof definitions);
}
