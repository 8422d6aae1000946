/* SPDX-License-Identifier: MIT
 * A dead letter with the memory that it points to. */
#ifndef SERVICE_LETTER_COPY_H
#define SERVICE_LETTER_COPY_H

#include "core/dead_letter.h"

/* In one piece: free() frees all of it. */
struct dead_letter *letter_copy(const struct dead_letter *letter);

#endif
