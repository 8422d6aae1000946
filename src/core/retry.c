/* SPDX-License-Identifier: MIT */
#include "core/retry.h"

int64_t retry_interval(int64_t first_us, int64_t most_us, uint32_t failures)
{
    int64_t interval = first_us;

    while (failures > 1 && interval < most_us) {
        interval = interval > most_us / 2 ? most_us : interval * 2;
        failures--;
    }
    return interval < most_us ? interval : most_us;
}

int64_t retry_delay(int64_t first_us, int64_t most_us, uint32_t failures, int64_t floor_us,
                    struct random *random)
{
    int64_t delay = random_up_to(random, retry_interval(first_us, most_us, failures));

    return delay > floor_us ? delay : floor_us;
}
