/* SPDX-License-Identifier: MIT
 * Host functions for instances that take nothing from a source: those that only publish, and those that
 * are only tried. They do nothing. See struct sluice_host_api. */
#ifndef SERVICE_HOST_NOTHING_H
#define SERVICE_HOST_NOTHING_H

#include <sluice/connector.h>

void *host_nothing_lane_opened(struct sluice_host *host, const struct sluice_lane *lane); /* NULL */
void host_nothing_lane(struct sluice_host *host, void *lane); /* closing, lost */
void host_nothing_deliver(struct sluice_host *host, const struct sluice_message *messages,
                          size_t count);
void host_nothing_settled(struct sluice_host *host, void *lane, uint64_t position);
void host_nothing_settle_failed(struct sluice_host *host, uint32_t requests);
void host_nothing_stopped(struct sluice_host *host);

#endif
