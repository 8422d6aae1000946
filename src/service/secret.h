/* SPDX-License-Identifier: MIT
 * Values that stand outside of the configuration: `!credential NAME` (systemd's LoadCredential=),
 * `!env NAME`, `!file PATH`. Faults name where it was looked for, never what was found. */
#ifndef SERVICE_SECRET_H
#define SERVICE_SECRET_H

#include <stdbool.h>

#include "base/fault.h"
#include "service/config_tree.h"

#define SECRET_MAX ((size_t)64 * 1024) /* bytes of one value */

/* Reads the value that `node` refers to: its own text where it is no reference. One newline at the
 * end of a file is not part of the value. A relative PATH counts from the directory of the file
 * that names it. Returns memory of its own, or NULL with a fault. */
char *secret_read(const struct node *node, struct fault *fault);

/* Wipes and frees. NULL is fine. */
void secret_free(char *value);

/* For people: `!file /run/password`; NULL where the node is no reference. Static per thread. */
const char *secret_name(const struct node *node);

/* `path` as seen from the directory of `file`: memory of its own. */
char *secret_path_beside(const char *file, const char *path);

#endif
