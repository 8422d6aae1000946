/* SPDX-License-Identifier: MIT
 * A payload in an editor, and how two payloads differ. */
#ifndef CLI_DLQ_EDIT_TEXT_H
#define CLI_DLQ_EDIT_TEXT_H

#include <sluice/message.h>

#include "base/buffer.h"

/* Lets a person change `before` in $VISUAL, $EDITOR or vi. JSON on one line is laid out for that, and
 * packed again after. What was JSON must still be: else asks to edit again. EX_OK, or a code after
 * saying what went wrong; then what was written is kept in a file that is named. */
int dlq_edit_text(struct sluice_bytes before, struct buffer *ret_after);

/* Prints the difference, as `diff -u` does; JSON laid out, control characters shown. */
void dlq_edit_diff(struct sluice_bytes before, struct sluice_bytes after);

#endif
