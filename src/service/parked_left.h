/* SPDX-License-Identifier: MIT
 * What is parked of mappings that are not there any more: it stays until one of that name comes again. */
#ifndef SERVICE_PARKED_LEFT_H
#define SERVICE_PARKED_LEFT_H

#include "service/supervisor.h"

/* Calls `look` for each of them. Any thread. */
void parked_left_look(struct supervisor *supervisor, park_look_fn look, void *argument);
/* Tells the log of them. */
void parked_left_tell(struct supervisor *supervisor);

#endif
