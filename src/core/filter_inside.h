/* SPDX-License-Identifier: MIT
 * What the files of the filter share. Nothing else includes it. */
#ifndef CORE_FILTER_INSIDE_H
#define CORE_FILTER_INSIDE_H

#include "base/json_scan.h"
#include "core/filter.h"

enum filter_test_kind {
    TEST_TEXT = 1,
    TEST_NUMBER,
    TEST_WORD, /* true, false, null */
    TEST_EXISTS,
    TEST_PREFIX,
    TEST_SUFFIX,
    TEST_IGNORE_CASE,
    TEST_WILDCARD,
    TEST_NUMERIC,
    TEST_CIDR,
    TEST_ANYTHING_BUT
};

/* One entry of a list. */
struct filter_test {
    enum filter_test_kind kind;
    char *text; /* owned; TEXT, PREFIX, SUFFIX, IGNORE_CASE; NUMBER as written, NULL unless an integer;
                   WILDCARD: its pieces one after the other */
    size_t size;
    bool ignore_case;         /* PREFIX, SUFFIX */
    bool exists;              /* EXISTS */
    enum json_scan_kind word; /* WORD */
    double number;            /* NUMBER */
    struct filter_bound {
        bool set, inclusive;
        double number;
    } least, most;            /* NUMERIC */
    size_t *pieces;           /* owned; WILDCARD: sizes of the texts between stars */
    size_t piece_count;
    unsigned char address[16]; /* CIDR */
    int family, bits;
    struct filter_test *tests; /* owned; ANYTHING_BUT */
    size_t test_count;
};

struct filter_field;

/* An object of a pattern: all fields and all groups of alternatives must match. */
struct filter_object {
    struct filter_field *fields;
    size_t field_count;
    struct filter_group {
        struct filter_object *objects;
        size_t object_count;
    } *groups;
    size_t group_count;
};

/* A named member: an object, or a list of tests. */
struct filter_field {
    char *name;
    size_t name_size;
    struct filter_object *object;
    struct filter_test *tests;
    size_t test_count;
    struct filter_object *path; /* `a.b`: what to look at where no member has that very name */
};

struct filter {
    struct filter_object *patterns;
    size_t count;
    bool reads_headers;
};

/* filter_test.c */
/* Whether one of them matches the value, which is no array. A STRING whose text has escapes is written
 * to `scratch` first; `raw`: it has none, whatever it looks like. */
bool filter_tests_match(const struct filter_test *tests, size_t count,
                        const struct json_scan_value *value, bool raw, struct buffer *scratch);

#endif
