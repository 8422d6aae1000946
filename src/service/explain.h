/* SPDX-License-Identifier: MIT
 * A mapping in plain sentences: what will happen, with its own numbers. */
#ifndef SERVICE_EXPLAIN_H
#define SERVICE_EXPLAIN_H

#include "base/buffer.h"
#include "service/mapping.h"

/* Appends the explanation, lines of at most 100 columns; never a secret. */
void explain_mapping(const struct mapping *mapping, struct buffer *text);

#endif
