/* SPDX-License-Identifier: MIT
 * The events that the journal's catalog explains (config/journal/sluice.catalog): those that somebody
 * may be woken by. */
#ifndef SERVICE_MESSAGE_IDS_H
#define SERVICE_MESSAGE_IDS_H

#include "base/log.h"

/* For log_set_message_ids. */
extern const struct log_message_id message_ids[];

#endif
