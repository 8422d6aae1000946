/* SPDX-License-Identifier: MIT
 * Tries a connector without running it: offline, so that a check of the configuration finds what
 * the connector itself would refuse, and for real, for `sluice check --connect`. */
#ifndef SERVICE_TRIAL_H
#define SERVICE_TRIAL_H

#include <stdbool.h>

#include <sluice/connector.h>

#include "service/problem.h"

/* Opens an instance and closes it. What the connector refuses is added as errors; `place` is told
 * where it names none. 0 or -1. */
int trial_open(const struct sluice_connector *connector, const struct sluice_values *values,
               struct place place, struct problems *problems);

/* The same for an instance that only publishes, see `open_publisher`. */
int trial_open_place(const struct sluice_connector *connector, const struct sluice_values *values,
                     struct place place, struct problems *problems);

/* Opens an instance, calls its `check` with `check`, and closes it. 0: all is well; 1: the
 * connector has no check; -1: `check->report` was told what failed. May block up to the deadline.
 */
int trial_check(const struct sluice_connector *connector, const struct sluice_values *values,
                const struct sluice_check *check);
/* The same for a place; `check->destination` is what to try there. */
int trial_check_place(const struct sluice_connector *connector, const struct sluice_values *values,
                      const struct sluice_check *check);

/* Opens an instance, has it browse, and closes it; `publishes`: one that only publishes. 0, or -1 where
 * `browse->fail` was told. May block up to the deadline. The connector has SLUICE_CAN_BROWSE. */
int trial_browse(const struct sluice_connector *connector, const struct sluice_values *values,
                 bool publishes, const struct sluice_browse *browse);

#endif
