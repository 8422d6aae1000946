/* SPDX-License-Identifier: MIT */
#include "base/fault.h"

#include <stdio.h>
#include <string.h>

static void mark_truncated(struct fault *fault, int wanted)
{
    if (wanted >= (int)sizeof fault->text)
        memcpy(fault->text + sizeof fault->text - 4, "...", 4);
}

int fault_set(struct fault *fault, const char *format, ...)
{
    va_list arguments;

    if (!fault)
        return -1;
    va_start(arguments, format);
    mark_truncated(fault, vsnprintf(fault->text, sizeof fault->text, format, arguments));
    va_end(arguments);
    return -1;
}

int fault_prefix(struct fault *fault, const char *format, ...)
{
    struct fault prefix, whole;
    va_list arguments;

    if (!fault)
        return -1;
    va_start(arguments, format);
    mark_truncated(&prefix, vsnprintf(prefix.text, sizeof prefix.text, format, arguments));
    va_end(arguments);
    mark_truncated(&whole,
                   snprintf(whole.text, sizeof whole.text, "%s: %s", prefix.text, fault->text));
    *fault = whole;
    return -1;
}
