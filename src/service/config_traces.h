/* SPDX-License-Identifier: MIT
 * `traces` of sluice.yaml: where spans are sent. */
#ifndef SERVICE_CONFIG_TRACES_H
#define SERVICE_CONFIG_TRACES_H

#include "service/mapping.h"
#include "service/options.h"
#include "service/problem.h"

/* Reads the settings; without `traces.endpoint` ret_traces->http.url is NULL. */
void config_traces_read(const struct sluice_values *settings, struct trace_settings *ret_traces,
                        struct problems *problems);
void config_traces_fini(struct trace_settings *traces); /* wipes */

/* Whether they say the same. */
bool config_traces_same(const struct trace_settings *one, const struct trace_settings *other);

#endif
