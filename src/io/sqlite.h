/* SPDX-License-Identifier: MIT
 * What the stores in SQLite files do alike. */
#ifndef IO_SQLITE_H
#define IO_SQLITE_H

#include <stdint.h>

#include <sqlite3.h>

#include <sluice/message.h>

#include "base/fault.h"

/* Makes the file so that nobody else can read it, not even for a moment. One that is there is not opened
 * but by SQLite: closing it would drop the locks of this process's other connections, and another process
 * would then delete the journal that they go on writing. 0, or -1 with a fault. */
int sqlite_make(const char *path, struct fault *fault);
/* As sqlite3_open_v2. Every connection is opened by it, as the first one sets SQLite up: it counts no
 * memory, for which all threads would take one lock at each allocation. */
int sqlite_open(const char *name, sqlite3 **ret_db, int flags);
/* The number that a question without parameters gives; -1 where it fails or gives none. */
int64_t sqlite_number(sqlite3 *db, const char *question);

/* Columns of the present row; valid as long as it. */
const char *sqlite_text(sqlite3_stmt *row, int column); /* "" for NULL */
/* NULL is absent, and an empty value is not. */
struct sluice_bytes sqlite_bytes(sqlite3_stmt *row, int column);

#endif
