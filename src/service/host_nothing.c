/* SPDX-License-Identifier: MIT */
#include "service/host_nothing.h"

void *host_nothing_lane_opened(struct sluice_host *host, const struct sluice_lane *lane)
{
    return NULL;
}

void host_nothing_lane(struct sluice_host *host, void *lane)
{
}

void host_nothing_deliver(struct sluice_host *host, const struct sluice_message *messages,
                          size_t count)
{
}

void host_nothing_settled(struct sluice_host *host, void *lane, uint64_t position)
{
}

void host_nothing_settle_failed(struct sluice_host *host, uint32_t requests)
{
}

void host_nothing_stopped(struct sluice_host *host)
{
}
