/* SPDX-License-Identifier: MIT */
#include "service/allowance.h"

#include "io/memory_limit.h"

void allowance_set(struct allowance *allowance, uint64_t most)
{
    atomic_store(&allowance->most, most ? most : memory_limit_read("") / 2);
}

void allowance_tell(struct allowance *allowance, uint64_t was, uint64_t is)
{
    if (is != was)
        atomic_fetch_add(&allowance->held, is - was);
}

uint64_t allowance_room(const struct allowance *allowance, uint64_t mine)
{
    uint64_t most = atomic_load(&allowance->most), held = atomic_load(&allowance->held);
    uint64_t left = held < most ? most - held : 0;

    return mine < left ? left - mine : 0;
}
