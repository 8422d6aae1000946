/* SPDX-License-Identifier: MIT
 * As fake, but its messages have no keys, no order and no identity. */
#define FAKE_NAME         "plain"
#define FAKE_CAPABILITIES SLUICE_CAN_DELAY
#include "fake.c"
