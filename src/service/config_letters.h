/* SPDX-License-Identifier: MIT
 * Reads where a mapping's dead letters go: `dead_letter.to` and what belongs to it. */
#ifndef SERVICE_CONFIG_LETTERS_H
#define SERVICE_CONFIG_LETTERS_H

#include "service/config_mapping.h"

/* Fills in `mapping->letters_to`; after its source was read. Mistakes become errors. */
void config_letters_read(const struct mapping_context *context, struct mapping *mapping);

#endif
