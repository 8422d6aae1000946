/* SPDX-License-Identifier: MIT
 * What the files of AWS's credentials share. Nothing else includes it. */
#ifndef AWS_CREDENTIALS_INSIDE_H
#define AWS_CREDENTIALS_INSIDE_H

#include <stdlib.h>

#include "aws_credentials.h"
#include "aws_files.h"
#include "aws_requests.h"

enum aws_source {
    AWS_NONE,
    AWS_KEYS,
    AWS_ENVIRONMENT,
    AWS_PROFILE,
    AWS_WEB_IDENTITY,
    AWS_CONTAINER,
    AWS_INSTANCE
};

/* What was asked for last. */
enum aws_question { NOTHING, FOR_WEB_IDENTITY, FOR_ROLE, FOR_CONTAINER, FOR_TOKEN, FOR_NAME, FOR_KEYS };

struct aws_temporary {
    struct aws_keys keys; /* `id` is NULL where there are none */
    int64_t renew_s, end_s;
};

struct aws_credentials {
    enum aws_source source;
    char *profile;
    const char *region;
    struct aws_temporary base; /* from the source */
    bool takes_role;       /* then requests are signed with `assumed`, for which STS is asked with `base` */
    struct aws_temporary assumed;
    struct aws_role role;
    char *token_file;
    enum aws_question question;
    char *token, *name; /* of the instance's service, and its role */
    int64_t hold_s;     /* until then those that are there do */
    char cure[300];
};

/* NULL: not set, or empty. */
static inline const char *aws_environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* ---- aws_credentials.c ---- */

void aws_credentials_wipe_role(struct aws_credentials *credentials);

/* ---- aws_find.c ---- */

/* Takes over how the keys of credentials->profile are got. -1 with a text. */
int aws_credentials_profile(struct aws_credentials *credentials, const struct aws_files *files,
                            char *ret_problem, size_t room);

#endif
