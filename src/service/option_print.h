/* SPDX-License-Identifier: MIT
 * One value of a typed option as text. */
#ifndef SERVICE_OPTION_PRINT_H
#define SERVICE_OPTION_PRINT_H

#include "base/buffer.h"
#include "service/option_value.h"

/* See options_print. */
void option_print(const struct sluice_option *option, const struct option_value *value,
                  struct buffer *buffer);

#endif
