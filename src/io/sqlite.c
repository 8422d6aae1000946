/* SPDX-License-Identifier: MIT */
#include "io/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int sqlite_make(const char *path, struct fault *fault)
{
    struct stat status;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0)
        return close(fd);
    if (errno == EEXIST) {
        errno = 0;
        if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
            errno = ELOOP;
        else if (errno == 0 && access(path, R_OK | W_OK) == 0)
            return 0;
    }
    return fault_set(fault, "%s: %s; sluice must own its state directory", path, strerror(errno));
}

static void set_up(void)
{
    /* Refused where somebody has used SQLite before: then it is only slower. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int sqlite_open(const char *name, sqlite3 **ret_db, int flags)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, set_up);
    return sqlite3_open_v2(name, ret_db, flags, NULL);
}

int64_t sqlite_number(sqlite3 *db, const char *question)
{
    sqlite3_stmt *statement;
    int64_t number = -1;

    if (sqlite3_prepare_v2(db, question, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    if (sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

const char *sqlite_text(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    return text ? text : "";
}

struct sluice_bytes sqlite_bytes(sqlite3_stmt *row, int column)
{
    struct sluice_bytes bytes = {NULL, 0};

    if (sqlite3_column_type(row, column) == SQLITE_NULL)
        return bytes;
    bytes.data = sqlite3_column_blob(row, column);
    bytes.size = (size_t)sqlite3_column_bytes(row, column);
    if (!bytes.data)
        bytes.data = ""; /* SQLite's pointer to nothing */
    return bytes;
}
