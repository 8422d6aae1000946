/* SPDX-License-Identifier: MIT
 * Ways of AWS's SDKs to keys that sluice does not go: other programs, and the sign-in of a person. */
#ifndef AWS_OTHERS_H
#define AWS_OTHERS_H

#include "aws_files.h"

/* Whether a profile names one of them; then the text says in which file, what was found, and the cure. */
bool aws_others_in(const struct aws_files *files, const char *profile, char *ret_text, size_t room);

#endif
