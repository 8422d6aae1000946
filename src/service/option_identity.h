/* SPDX-License-Identifier: MIT
 * All that one value of a typed option consists of, for telling whether it changed. */
#ifndef SERVICE_OPTION_IDENTITY_H
#define SERVICE_OPTION_IDENTITY_H

#include "service/option_value.h"
#include "service/options.h"

/* See options_identify. */
void option_identify(const struct sluice_option *option, const struct option_value *value,
                     identity_fn add, void *argument);

#endif
