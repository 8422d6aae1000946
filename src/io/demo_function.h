/* SPDX-License-Identifier: MIT
 * The function of `sluice demo`: an HTTP server on this machine that handles orders, and is slow
 * now and then, answers 500 now and then, and refuses orders that make no sense with 400. It takes
 * bodies of `format: json`. libmicrohttpd with a thread for each connection, so that a slow answer
 * holds up nothing else. */
#ifndef IO_DEMO_FUNCTION_H
#define IO_DEMO_FUNCTION_H

#include <stdint.h>

#include "base/fault.h"

#define DEMO_FUNCTION_ORDERS 1000 /* most orders; they are named A-1001, A-1002, ... */

struct demo_function_status {
    uint32_t done;  /* different orders handled */
    uint32_t twice; /* of them more than once */
    uint32_t invocations, succeeded, failed, refused, slow; /* refused: 400 */
    uint32_t running; /* invocations right now */
    char now[80];     /* what it is doing, for people */
};

struct demo_function;

/* Listens on 127.0.0.1 at a port of the kernel's choice. NULL with a fault. */
struct demo_function *demo_function_start(struct fault *fault);
unsigned demo_function_port(const struct demo_function *function);
/* Ends what is running at once. NULL is fine. */
void demo_function_stop(struct demo_function *function);

/* Any thread. */
void demo_function_read_status(struct demo_function *function,
                               struct demo_function_status *ret_status);
/* The number of the order (1 for A-1001) that was seen at this place; 0: none. Any thread. */
unsigned demo_function_order_at(struct demo_function *function, int32_t partition,
                                uint64_t position);

#endif
