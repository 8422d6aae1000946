/* SPDX-License-Identifier: MIT
 * What the files of the common cases share. */
#ifndef CASES_INSIDE_H
#define CASES_INSIDE_H

#include "cases.h"

#define CASE_DEADLINE_US (5 * HOST_SECOND)
#define CASE(case_)      {.name = #case_, .run = test_##case_}

/* cases.c */
struct sluice_bytes case_text(const char *text);
/* Frees the host and stops its server. */
void case_finish(struct source *source, struct sluice_host *host);
/* Leaves out what the source cannot carry, which is not the connector's to change. What has no keys has no
 * tombstones either. */
void case_fit(const struct sluice_host *host, struct record *records, size_t count);

/* cases_place.c */
extern const struct contract_case cases_of_place[];
extern const size_t cases_of_place_count;

#endif
