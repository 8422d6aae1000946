/* SPDX-License-Identifier: MIT
 * What the threads of this process are doing, as far as the kernel tells. */
#ifndef IO_THREADS_H
#define IO_THREADS_H

#include "base/buffer.h"

/* Appends name, state and where in the kernel each thread waits, as
 * `p0-orders: S futex_wait_queue, recorder: D jbd2_log_wait_commit`. Nothing where /proc is not there. */
void threads_describe(struct buffer *text);

#endif
