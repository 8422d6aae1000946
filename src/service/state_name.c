/* SPDX-License-Identifier: MIT */
#include "service/state_name.h"

#include <sluice/connector.h>

const char *state_name(uint32_t state)
{
    static const char *const names[] = {
        [0] = "stopped",
        [SLUICE_STATE_CONNECTING] = "connecting",
        [SLUICE_STATE_RUNNING] = "running",
        [SLUICE_STATE_UNREACHABLE] = "unreachable",
        [SLUICE_STATE_UNAUTHORISED] = "unauthorised",
        [SLUICE_STATE_MISSING] = "missing",
        [SLUICE_STATE_FAILED] = "failed",
    };

    return names[state];
}
