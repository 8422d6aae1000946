/* SPDX-License-Identifier: MIT
 * `control_http` of sluice.yaml: who may give orders over TCP. */
#ifndef SERVICE_CONFIG_CONTROL_H
#define SERVICE_CONFIG_CONTROL_H

#include "service/mapping.h"
#include "service/options.h"
#include "service/problem.h"

/* Reads the settings and the files that they name; what contradicts itself, or would let in anybody, is
 * an error. */
void config_control_read(const struct sluice_values *settings,
                         struct control_http_settings *ret_control, struct problems *problems);
void config_control_fini(struct control_http_settings *control); /* wipes */

/* Whether a running one becomes the other without a restart: same address, with TLS as before or without. */
bool config_control_same(const struct control_http_settings *one,
                         const struct control_http_settings *other);

#endif
