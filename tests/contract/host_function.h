/* SPDX-License-Identifier: MIT
 * An HTTP function for tests of the host: it remembers which messages it was given and answers when
 * and what it is told. */
#ifndef HOST_FUNCTION_H
#define HOST_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>

struct function;

struct function *function_start(void);
void function_stop(struct function *function);
int function_port(struct function *function);

/* Status of answers from now on. */
void function_answer(struct function *function, int status);
/* Requests with the message `id` are not answered until this is called with NULL; "" holds all. */
void function_hold(struct function *function, const char *id);
/* How often a message was given. */
int function_seen(struct function *function, const char *id);
/* Waits until the messages PREFIX-FIRST to PREFIX-LAST were given at least `times` times; fails the
 * test after 20 s (times patience). */
void function_wait(struct function *function, int prefix, int first, int last, int times);
/* The body of the last request, the function's. */
const char *function_body(struct function *function);

#endif
