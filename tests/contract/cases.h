/* SPDX-License-Identifier: MIT
 * What every connector must do, whatever it connects to. */
#ifndef CASES_H
#define CASES_H

#include "runner.h"
#include "source.h"

/* The kind of server that the case uses. */
extern const struct source_kind *the_kind;

/* What main returns: runs the common cases with this kind of server, then those of the connector. */
int cases_main(int argc, char **argv, const struct source_kind *kind,
               const struct contract_case *more, size_t count);

/* The same with several kinds of one connector's: those after the first have the common cases only, each with the
 * kind's prefix before its name. */
int cases_main_of(int argc, char **argv, const struct source_kind *const *kinds, size_t kind_count,
                  const struct contract_case *more, size_t count);

/* A host with the source's options set; `host_run` follows. */
struct sluice_host *case_host(struct source *source);
/* Messages `PREFIX-0`, `PREFIX-1`, ..., with the same text as key and payload. */
void case_produce(struct source *source, unsigned lane, const char *prefix, unsigned count);
/* How often a message with this payload arrived. */
size_t case_seen(const struct sluice_host *host, const char *payload);
/* Publishes and waits for the answer; returns whether it was confirmed. */
bool case_publish(struct sluice_host *host, const char *destination, const struct record *record);
/* Waits until the server says that this many messages are not settled. */
void case_wait_unsettled(struct source *source, struct sluice_host *host, size_t count);
void cases_wait_unsettled(struct source *source, struct sluice_host **hosts, size_t host_count,
                          size_t count);

#endif
