/* SPDX-License-Identifier: MIT */
#include "aws_others.h"

#include <stdio.h>

#define SIGN_IN "sluice does not sign in to IAM Identity Center, as that takes a person"

static const struct other {
    const char *key, *why;
} others[] = {
    {"credential_process", "sluice starts no other program"},
    {"sso_session", SIGN_IN},
    {"sso_start_url", SIGN_IN},
    {"sso_account_id", SIGN_IN},
    {"sso_role_name", SIGN_IN},
};

bool aws_others_in(const struct aws_files *files, const char *profile, char *ret_text, size_t room)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *path = aws_files_where(files, profile, others[i].key);

        if (!path)
            continue;
        snprintf(ret_text, room,
                 "%.200s: profile %.80s has %s, but %s: use a profile with role_arn and source_profile, "
                 "credential_source or web_identity_token_file, or one with keys, which may be renewed in the "
                 "file at any time (aws configure export-credentials prints them)",
                 path, profile, others[i].key, others[i].why);
        return true;
    }
    return false;
}
