/* SPDX-License-Identifier: MIT
 * The lists of a filter's patterns, made ready to be tried. */
#ifndef CORE_FILTER_TESTS_H
#define CORE_FILTER_TESTS_H

#include "core/filter_inside.h"

/* Reads a list that is not empty. `name` is the field's, for messages. 0; or -1 with a fault; what was
 * read until then is given back in either case, to be freed. */
int filter_tests_compile(const json_t *list, const char *name, struct filter_test **ret_tests,
                         size_t *ret_count, struct fault *fault);
void filter_tests_free(struct filter_test *tests, size_t count);

#endif
