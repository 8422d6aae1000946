/* SPDX-License-Identifier: MIT
 * What `sluice check` says: text for people as it goes, or one JSON document at the end. */
#ifndef CLI_CHECK_REPORT_H
#define CLI_CHECK_REPORT_H

#include <stdbool.h>

#include <jansson.h>

#include "service/mapping.h"
#include "service/problem.h"

struct check_report {
    json_t *document; /* NULL: text */
    bool colour;
};

void check_report_begin(struct check_report *report, bool json);
void check_report_problems(struct check_report *report, const struct problems *problems);
void check_report_explained(struct check_report *report, const struct mapping *mapping,
                            const char *text);
/* One thing that --connect tried. */
void check_report_tried(struct check_report *report, const struct mapping *mapping, bool good,
                        const char *text);
/* The closing line, or the document. `configuration` is NULL after errors; `good`: --connect found
 * nothing wrong. */
void check_report_end(struct check_report *report, const struct configuration *configuration,
                      const struct problems *problems, bool good);

#endif
