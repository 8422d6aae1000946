/* SPDX-License-Identifier: MIT
 * Where keys of AWS are: what the mapping, the environment and the profile say. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "aws_credentials_inside.h"
#include "aws_others.h"

static const char *const source_names[] = {"none",         "keys",      "environment", "profile",
                                           "web_identity", "container", "instance"};

static void read_keys(struct http_reader *reader, struct aws_credentials *credentials)
{
    const char *id = http_demand(reader, "sqs.access_key_id", "the key's id, as AKIAIOSFODNN7EXAMPLE");
    const char *secret = http_demand(reader, "sqs.secret_access_key",
                                     "the secret of sqs.access_key_id, by !credential, !file or !env");
    const char *session = http_text(reader, "sqs.session_token");

    if (id && strpbrk(id, " \t\r\n/,="))
        http_refuse(reader, "sqs.access_key_id", "found blanks or signs, expected letters and digits");
    if (session && strpbrk(session, " \t\r\n"))
        http_refuse(reader, "sqs.session_token", "found blanks, expected one word");
    if (!reader->refused && aws_keys_copy(&credentials->base.keys, id, secret, session))
        reader->refused = true; /* no memory */
}

/* Why a profile gives no keys. */
static void tell_none(const struct aws_files *files, const char *profile, char *ret_problem, size_t room)
{
    if (aws_others_in(files, profile, ret_problem, room))
        return;
    if (aws_files_has(files, profile))
        snprintf(ret_problem, room, "profile %.80s has neither aws_access_key_id nor role_arn", profile);
    else
        snprintf(ret_problem, room,
                 "there is no profile %.80s in the files credentials and config of ~/.aws, or where "
                 "AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE say",
                 profile);
}

/* Whether the profile's role is taken on with the keys of a profile that has none for us. */
static bool source_is_other(const struct aws_files *files, const char *profile, char *ret_problem,
                            size_t room)
{
    char *source = aws_files_value(files, profile, "source_profile");
    bool is_other = source && !aws_files_where(files, source, "aws_access_key_id") &&
                    aws_others_in(files, source, ret_problem, room);

    free(source);
    return is_other;
}

int aws_credentials_profile(struct aws_credentials *credentials, const struct aws_files *files,
                            char *ret_problem, size_t room)
{
    const char *profile = credentials->profile;
    char *id = aws_files_value(files, profile, "aws_access_key_id");
    int status;

    aws_credentials_wipe_role(credentials);
    credentials->role.arn = aws_files_value(files, profile, "role_arn");
    credentials->role.session = aws_files_value(files, profile, "role_session_name");
    credentials->role.external_id = aws_files_value(files, profile, "external_id");
    credentials->token_file = aws_files_value(files, profile, "web_identity_token_file");
    status = id || credentials->role.arn ? 0 : -1;
    credentials->takes_role = !id && credentials->role.arn && !credentials->token_file;
    if (status)
        tell_none(files, profile, ret_problem, room);
    else if (credentials->takes_role && source_is_other(files, profile, ret_problem, room))
        status = -1;
    free(id);
    return status;
}

/* Also of what sluice does not do, so that it is told: AWS's SDKs would look no further either. */
static bool profile_speaks_of_keys(struct aws_credentials *credentials)
{
    char problem[HTTP_TEXT];
    struct aws_files files;
    bool has;

    if (aws_files_read(&files, problem, sizeof problem))
        return true; /* which then says what is wrong */
    has = aws_files_has(&files, credentials->profile) &&
          (!aws_credentials_profile(credentials, &files, problem, sizeof problem) ||
           aws_others_in(&files, credentials->profile, problem, sizeof problem));
    aws_credentials_wipe_role(credentials);
    aws_files_free(&files);
    return has;
}

static bool environment_has_identity(void)
{
    return aws_environment("AWS_WEB_IDENTITY_TOKEN_FILE") && aws_environment("AWS_ROLE_ARN");
}

/* The first place that has something, in the order of AWS's SDKs. */
static enum aws_source find_source(struct http_reader *reader, struct aws_credentials *credentials)
{
    if (http_is_set(reader, "sqs.access_key_id") || http_is_set(reader, "sqs.secret_access_key"))
        return AWS_KEYS;
    if (http_is_set(reader, "sqs.profile"))
        return AWS_PROFILE;
    if (aws_environment("AWS_ACCESS_KEY_ID") && aws_environment("AWS_SECRET_ACCESS_KEY"))
        return AWS_ENVIRONMENT;
    if (environment_has_identity())
        return AWS_WEB_IDENTITY;
    if (profile_speaks_of_keys(credentials))
        return AWS_PROFILE;
    return aws_has_container() ? AWS_CONTAINER : AWS_INSTANCE;
}

static void set_cure(struct aws_credentials *credentials, bool found)
{
    static const char *const where[] = {
        "without keys, as sqs.credentials says",
        "by sqs.access_key_id and sqs.secret_access_key",
        "by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment",
        "by profile %s of the shared files",
        "by the web identity's token and AWS_ROLE_ARN",
        "by the container's credentials service",
        "by the instance's metadata service",
    };
    char place[160];

    if (credentials->source == AWS_PROFILE)
        snprintf(place, sizeof place, "by profile %.60s of the shared files", credentials->profile);
    else
        snprintf(place, sizeof place, "%s", where[credentials->source]);
    snprintf(credentials->cure, sizeof credentials->cure, "keys are got %s%s", place,
             found && credentials->source == AWS_INSTANCE
                 ? ", as there are none in the mapping (sqs.access_key_id), the environment or ~/.aws"
                 : "");
}

/* What is asked for must be there already, so that `check` can say what is missing. */
static void look_for(struct http_reader *reader, struct aws_credentials *credentials)
{
    char problem[HTTP_TEXT] = "";
    struct aws_files files;

    if (credentials->source == AWS_ENVIRONMENT &&
        !(aws_environment("AWS_ACCESS_KEY_ID") && aws_environment("AWS_SECRET_ACCESS_KEY")))
        http_refuse(reader, "sqs.credentials",
                    "environment, but AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
    if (credentials->source == AWS_WEB_IDENTITY && !environment_has_identity())
        http_refuse(reader, "sqs.credentials",
                    "web_identity, but AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are not set");
    if (credentials->source != AWS_PROFILE)
        return;
    if (aws_files_read(&files, problem, sizeof problem)) {
        http_refuse(reader, "sqs.profile", "%s", problem);
        return;
    }
    if (aws_credentials_profile(credentials, &files, problem, sizeof problem))
        http_refuse(reader, "sqs.profile", "%s%s", problem,
                    http_is_set(reader, "sqs.profile")
                        ? ""
                        : "; or say by sqs.credentials where else the keys are");
    aws_files_free(&files);
}

static void refuse_unused(struct http_reader *reader, const struct aws_credentials *credentials)
{
    static const char *const keys[] = {"sqs.access_key_id", "sqs.secret_access_key", "sqs.session_token"};

    for (size_t i = 0; i < 3; i++)
        if (credentials->source != AWS_KEYS && http_is_set(reader, keys[i]))
            http_refuse(reader, keys[i], "is not used where keys are got otherwise (%s): take one out",
                        source_names[credentials->source]);
    if (credentials->source != AWS_PROFILE && http_is_set(reader, "sqs.profile"))
        http_refuse(reader, "sqs.profile", "is not used where keys are got otherwise (%s): take one out",
                    source_names[credentials->source]);
}

struct aws_credentials *aws_credentials_open(struct http_reader *reader)
{
    struct aws_credentials *credentials = calloc(1, sizeof *credentials);
    const char *given = http_text(reader, "sqs.credentials"), *profile = http_text(reader, "sqs.profile");

    if (!credentials)
        return NULL;
    if (!profile)
        profile = aws_environment("AWS_PROFILE");
    credentials->profile = strdup(profile ? profile : "default");
    if (!credentials->profile) {
        aws_credentials_free(credentials);
        return NULL;
    }
    if (!given)
        credentials->source = find_source(reader, credentials);
    for (size_t i = 0; given && i < sizeof source_names / sizeof *source_names; i++)
        if (!strcmp(given, source_names[i]))
            credentials->source = (enum aws_source)i;
    set_cure(credentials, !given);
    refuse_unused(reader, credentials);
    if (credentials->source == AWS_KEYS)
        read_keys(reader, credentials);
    look_for(reader, credentials);
    if (!reader->refused)
        return credentials;
    aws_credentials_free(credentials);
    return NULL;
}

char *aws_credentials_region(const struct aws_credentials *credentials)
{
    const char *region = aws_environment("AWS_REGION");
    char problem[HTTP_TEXT], *found = NULL;
    struct aws_files files;

    if (!region)
        region = aws_environment("AWS_DEFAULT_REGION");
    if (region)
        return strdup(region);
    if (!aws_files_read(&files, problem, sizeof problem)) {
        found = aws_files_value(&files, credentials->profile, "region");
        aws_files_free(&files);
    }
    return found;
}
