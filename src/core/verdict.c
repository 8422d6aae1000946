/* SPDX-License-Identifier: MIT */
#include "core/verdict.h"

const char *outcome_class_name(enum outcome_class class)
{
    static const char *const names[] = {"done", "failed", "throttled",
                                        "unavailable", "poison", "fatal"};

    return names[class];
}

enum outcome_class outcome_of_status(uint32_t status)
{
    switch (status) {
    case 401:
    case 403:
    case 404:
    case 410:
        return OUTCOME_FATAL;
    case 408:
    case 409:
    case 425:
        return OUTCOME_FAILED;
    case 429:
        return OUTCOME_THROTTLED;
    case 502:
    case 503:
    case 504:
        return OUTCOME_UNAVAILABLE;
    default:
        break;
    }
    if (status >= 200 && status < 300)
        return OUTCOME_DONE;
    return status >= 300 && status < 500 ? OUTCOME_POISON : OUTCOME_FAILED;
}
