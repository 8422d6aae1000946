/* SPDX-License-Identifier: MIT
 * What fake_api.c and fake_host.c share. */
#ifndef FAKE_API_H
#define FAKE_API_H

#include "fake_host.h"

extern const struct sluice_host_api fake_api;

/* Takes note that the connector does not keep to the ABI; the first time counts. */
void host_violate(struct sluice_host *host, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Records that all of the lane before that position is finished. */
void host_record_position(const char *lane, uint64_t position);

#endif
