/* SPDX-License-Identifier: MIT
 * What people read for a connector's state. */
#ifndef SERVICE_STATE_NAME_H
#define SERVICE_STATE_NAME_H

#include <stdint.h>

/* Of enum sluice_state: `running`, `unreachable`, ...; `stopped` for 0. */
const char *state_name(uint32_t state);

#endif
