/* SPDX-License-Identifier: MIT
 * Whether what a plugin returned is a connector of this ABI. */
#ifndef IO_PLUGIN_CHECK_H
#define IO_PLUGIN_CHECK_H

#include <sluice/connector.h>

#include "base/fault.h"

/* 0 where the file and its directory can be changed only by root, by us, or by the owner of the
 * running program. */
int plugin_check_file(const char *path, struct fault *fault);

/* Copies the descriptor that a plugin returned. `name` is what the file's name says. 0 or -1. */
int plugin_check_connector(const struct sluice_connector *found, const char *name,
                           struct sluice_connector *ret_connector, struct fault *fault);

#endif
