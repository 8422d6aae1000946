/* SPDX-License-Identifier: MIT
 * How much memory the messages of all mappings may take together. Each poller says what it holds and
 * asks how much more it may; a mapping whose target is down cannot take all of it from the others: nobody
 * may hold more than is left (the dynamic threshold of shared buffers: Choudhury and Hahne, IEEE/ACM
 * Transactions on Networking 6(2), 1998, with a factor of 1). Any thread. */
#ifndef SERVICE_ALLOWANCE_H
#define SERVICE_ALLOWANCE_H

#include <stdatomic.h>
#include <stdint.h>

struct allowance {
    _Atomic uint64_t most; /* bytes */
    _Atomic uint64_t held;
};

/* `most` as it was configured; 0: half of what memory_limit_read finds, as connectors, invocations in
 * flight and stores take memory too. Again where it was changed. */
void allowance_set(struct allowance *allowance, uint64_t most);
/* One who told `was` before, at first 0, holds `is` bytes now. */
void allowance_tell(struct allowance *allowance, uint64_t was, uint64_t is);
/* How many bytes one who holds `mine` may take beyond them. */
uint64_t allowance_room(const struct allowance *allowance, uint64_t mine);

#endif
