/* SPDX-License-Identifier: MIT
 * A command that repeats by hand the call that a replay would make. */
#ifndef CLI_DLQ_CURL_H
#define CLI_DLQ_CURL_H

#include "core/dead_letter.h"
#include "service/mapping.h"

/* Prints a shell command: the letter's message alone, in the mapping's envelope, with its token.
 * Secrets stand as variables such as $PASSWORD; values of configured headers may be secrets and stand
 * so too. Nothing that a message holds can break out of its quotes or reach a terminal unescaped. */
void dlq_curl(const struct mapping *mapping, const struct dead_letter *letter);

#endif
