/* SPDX-License-Identifier: MIT
 * Keys of AWS as they are asked for, taken and renewed. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws_credentials_inside.h"

#define EARLY_S  300 /* new keys are asked for this long before the old ones end */
#define AGAIN_S  30  /* pause after a failure while those that are there still last */

/* ---- life ---- */

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static void wipe_temporary(struct aws_temporary *temporary)
{
    aws_keys_wipe(&temporary->keys);
    *temporary = (struct aws_temporary){0};
}

void aws_credentials_wipe_role(struct aws_credentials *credentials)
{
    wipe(&credentials->role.arn);
    wipe(&credentials->role.session);
    wipe(&credentials->role.external_id);
    wipe(&credentials->token_file);
    credentials->takes_role = false;
}

void aws_credentials_free(struct aws_credentials *credentials)
{
    if (!credentials)
        return;
    wipe_temporary(&credentials->base);
    wipe_temporary(&credentials->assumed);
    aws_credentials_wipe_role(credentials);
    wipe(&credentials->token);
    wipe(&credentials->name);
    free(credentials->profile);
    free(credentials);
}

void aws_credentials_forget(struct aws_credentials *credentials)
{
    if (credentials->source != AWS_KEYS)
        wipe_temporary(&credentials->base);
    wipe_temporary(&credentials->assumed);
    credentials->hold_s = 0;
}

static struct aws_temporary *current(struct aws_credentials *credentials)
{
    return credentials->takes_role ? &credentials->assumed : &credentials->base;
}

const struct aws_keys *aws_credentials_keys(const struct aws_credentials *credentials)
{
    return credentials->source == AWS_NONE ? NULL
           : credentials->takes_role   ? &credentials->assumed.keys
                                       : &credentials->base.keys;
}

void aws_credentials_use_region(struct aws_credentials *credentials, const char *region)
{
    credentials->region = region;
}

const char *aws_credentials_cure(const struct aws_credentials *credentials)
{
    return credentials->cure;
}

/* ---- asking ---- */

static bool is_fresh(const struct aws_temporary *temporary, int64_t now_s)
{
    return temporary->keys.id && (!temporary->end_s || now_s < temporary->renew_s);
}

static bool is_valid(const struct aws_temporary *temporary, int64_t now_s)
{
    return temporary->keys.id && (!temporary->end_s || now_s < temporary->end_s);
}

static int ask_identity(struct aws_credentials *credentials, const char *file, struct http_request *ret,
                        struct http_fault *fault)
{
    struct aws_role role = credentials->role;
    char problem[HTTP_TEXT / 2], *token = aws_files_text(file, problem, sizeof problem);
    int status;

    if (!token)
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED, "the web identity's token: %s", problem);
    if (!role.arn) {
        role.arn = getenv("AWS_ROLE_ARN");
        role.session = getenv("AWS_ROLE_SESSION_NAME");
    }
    status = role.arn ? aws_request_web_identity(credentials->region, &role, token, ret, fault)
                      : http_fault(fault, SLUICE_STATE_UNAUTHORISED, "AWS_ROLE_ARN is not set");
    explicit_bzero(token, strlen(token));
    free(token);
    credentials->question = FOR_WEB_IDENTITY;
    return status ? -1 : 1;
}

static int ask_instance(struct aws_credentials *credentials, struct http_request *ret,
                        struct http_fault *fault)
{
    int status;

    if (!aws_has_instance())
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                          "no keys: there are none in the mapping (sqs.access_key_id), the environment or "
                          "~/.aws, and AWS_EC2_METADATA_DISABLED forbids to ask the instance's service");
    credentials->question = !credentials->token ? FOR_TOKEN : !credentials->name ? FOR_NAME : FOR_KEYS;
    status = credentials->question == FOR_TOKEN
                 ? aws_request_instance_token(ret, fault)
                 : aws_request_instance(credentials->token, credentials->name, ret, fault);
    return status ? -1 : 1;
}

static int ask_container(struct aws_credentials *credentials, struct http_request *ret,
                         struct http_fault *fault)
{
    credentials->question = FOR_CONTAINER;
    return aws_request_container(ret, fault) ? -1 : 1;
}

static int take_environment(struct aws_credentials *credentials, struct http_fault *fault)
{
    const char *id = aws_environment("AWS_ACCESS_KEY_ID");
    const char *secret = aws_environment("AWS_SECRET_ACCESS_KEY");

    if (!id || !secret ||
        aws_keys_copy(&credentials->base.keys, id, secret, aws_environment("AWS_SESSION_TOKEN")))
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                          "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
    return 0;
}

static int take_file_keys(struct aws_credentials *credentials, const struct aws_files *files,
                          const char *profile, struct http_fault *fault)
{
    char *id = aws_files_value(files, profile, "aws_access_key_id");
    char *secret = aws_files_value(files, profile, "aws_secret_access_key");
    char *session = aws_files_value(files, profile, "aws_session_token");
    int status = !id || !secret || aws_keys_copy(&credentials->base.keys, id, secret, session);

    wipe(&id);
    wipe(&secret);
    wipe(&session);
    return status ? http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                               "profile %.80s has no aws_access_key_id with its aws_secret_access_key", profile)
                  : 0;
}

/* The keys that may take on the profile's role. */
static int ask_role_source(struct aws_credentials *credentials, const struct aws_files *files,
                           struct http_request *ret, struct http_fault *fault)
{
    char *source = aws_files_value(files, credentials->profile, "source_profile");
    char *service = aws_files_value(files, credentials->profile, "credential_source");
    int status;

    if (source)
        status = take_file_keys(credentials, files, source, fault);
    else if (service && !strcmp(service, "Environment"))
        status = take_environment(credentials, fault);
    else if (service && !strcmp(service, "EcsContainer"))
        status = ask_container(credentials, ret, fault);
    else if (service && !strcmp(service, "Ec2InstanceMetadata"))
        status = ask_instance(credentials, ret, fault);
    else
        status = http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                            "profile %.80s has a role_arn, and for its keys expected source_profile, "
                            "web_identity_token_file or a credential_source of Environment, EcsContainer or "
                            "Ec2InstanceMetadata",
                            credentials->profile);
    free(source);
    free(service);
    return status;
}

static int ask_profile(struct aws_credentials *credentials, struct http_request *ret,
                       struct http_fault *fault)
{
    char problem[HTTP_TEXT] = "";
    struct aws_files files;
    int status;

    if (aws_files_read(&files, problem, sizeof problem))
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED, "%s", problem);
    if (aws_credentials_profile(credentials, &files, problem, sizeof problem))
        status = http_fault(fault, SLUICE_STATE_UNAUTHORISED, "%s", problem);
    else if (credentials->takes_role)
        status = ask_role_source(credentials, &files, ret, fault);
    else if (credentials->token_file)
        status = ask_identity(credentials, credentials->token_file, ret, fault);
    else
        status = take_file_keys(credentials, &files, credentials->profile, fault);
    aws_files_free(&files);
    return status;
}

/* 0: the base is there now; 1: a request is to be made; -1. */
static int ask_base(struct aws_credentials *credentials, struct http_request *ret,
                    struct http_fault *fault)
{
    switch (credentials->source) {
    case AWS_ENVIRONMENT:
        return take_environment(credentials, fault);
    case AWS_PROFILE:
        return ask_profile(credentials, ret, fault);
    case AWS_WEB_IDENTITY:
        return ask_identity(credentials, getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), ret, fault);
    case AWS_CONTAINER:
        return ask_container(credentials, ret, fault);
    case AWS_INSTANCE:
        return ask_instance(credentials, ret, fault);
    default:
        return 0;
    }
}

int aws_credentials_ask(struct aws_credentials *credentials, int64_t now_s,
                        struct http_request *ret_request, struct http_fault *fault)
{
    struct aws_temporary *keys = current(credentials);
    int status = 0;

    if (credentials->source == AWS_NONE || is_fresh(keys, now_s) ||
        (now_s < credentials->hold_s && is_valid(keys, now_s)))
        return 0;
    credentials->question = NOTHING;
    if (!is_fresh(&credentials->base, now_s)) {
        struct aws_temporary old = credentials->base;

        credentials->base = (struct aws_temporary){0};
        status = ask_base(credentials, ret_request, fault);
        if (credentials->base.keys.id)
            wipe_temporary(&old);
        else
            credentials->base = old; /* which do as long as they last */
    }
    if (!status && credentials->takes_role) {
        credentials->question = FOR_ROLE;
        status = aws_request_role(credentials->region, &credentials->role, &credentials->base.keys, now_s,
                                  ret_request, fault)
                     ? -1
                     : 1;
    }
    if (status < 0)
        status = aws_credentials_unanswered(credentials, now_s, fault);
    return status;
}

/* ---- answers ---- */

int aws_credentials_unanswered(struct aws_credentials *credentials, int64_t now_s,
                               struct http_fault *fault)
{
    char text[HTTP_TEXT];

    if (is_valid(current(credentials), now_s)) {
        credentials->hold_s = now_s + AGAIN_S;
        return 0;
    }
    snprintf(text, sizeof text, "%s", fault->text);
    return http_fault(fault, fault->state, "%.450s (%s)", text, credentials->cure);
}

static int take_keys(struct aws_temporary *ret, struct aws_keys *keys, int64_t end_s, int64_t now_s,
                     struct http_fault *fault)
{
    int64_t lasts_s = end_s - now_s;

    if (lasts_s <= 0) {
        aws_keys_wipe(keys);
        return http_fault(fault, SLUICE_STATE_UNAUTHORISED,
                          "the keys that were given ended %lld s ago; check this machine's clock",
                          (long long)-lasts_s);
    }
    wipe_temporary(ret);
    *ret = (struct aws_temporary){*keys, end_s - (lasts_s > 2 * EARLY_S ? EARLY_S : lasts_s / 2), end_s};
    return 0;
}

static int refused(const struct http_answer *answer, const char *who, const char *cure,
                   struct http_fault *fault)
{
    bool passes = answer->status >= 500 || answer->status == 429;

    return http_fault(fault, passes ? SLUICE_STATE_UNREACHABLE : SLUICE_STATE_UNAUTHORISED,
                      "%s answers %ld%s", who, answer->status, passes ? "; it is tried again" : cure);
}

static int take_instance(struct aws_credentials *credentials, const struct http_answer *answer,
                         int64_t now_s, struct http_fault *fault)
{
    static const char who[] = "the instance's metadata service";
    enum aws_question question = credentials->question;
    struct aws_keys keys;
    int64_t end_s;
    char **text = question == FOR_TOKEN ? &credentials->token : &credentials->name;

    if (answer->status / 100 != 2) {
        wipe(&credentials->token);
        wipe(&credentials->name);
        return refused(answer, who,
                       question == FOR_NAME ? ": the instance has no role; give it an instance profile"
                                            : ": check that version 2 of the service is on",
                       fault);
    }
    if (question == FOR_KEYS) {
        wipe(&credentials->name); /* another role may be there next time */
        wipe(&credentials->token);
        return aws_read_metadata(answer, who, &keys, &end_s, fault) ||
                       take_keys(&credentials->base, &keys, end_s, now_s, fault)
                   ? -1
                   : 0;
    }
    wipe(text);
    *text = aws_read_line(answer);
    return *text ? 0
                 : http_fault(fault, SLUICE_STATE_FAILED,
                              "%s answers something else than one line (the answer is not shown)", who);
}

static int take_sts(struct aws_credentials *credentials, const struct http_answer *answer, int64_t now_s,
                    struct http_fault *fault)
{
    bool assumed = credentials->question == FOR_ROLE;
    const char *who = assumed ? "STS, asked for a role," : "STS, asked for a role with a web identity,";
    struct aws_keys keys;
    int64_t end_s;

    if (answer->status / 100 != 2) {
        if (assumed && credentials->source != AWS_KEYS)
            wipe_temporary(&credentials->base);
        return aws_read_sts_error(answer, who, fault);
    }
    return aws_read_sts(answer, who, &keys, &end_s, fault) ||
                   take_keys(assumed ? &credentials->assumed : &credentials->base, &keys, end_s, now_s, fault)
               ? -1
               : 0;
}

static int take_container(struct aws_credentials *credentials, const struct http_answer *answer,
                          int64_t now_s, struct http_fault *fault)
{
    static const char who[] = "the container's credentials service";
    struct aws_keys keys;
    int64_t end_s;

    if (answer->status / 100 != 2)
        return refused(answer, who, ": check the role of the task or pod, and its authorization token",
                       fault);
    return aws_read_metadata(answer, who, &keys, &end_s, fault) ||
                   take_keys(&credentials->base, &keys, end_s, now_s, fault)
               ? -1
               : 0;
}

int aws_credentials_take(struct aws_credentials *credentials, const struct http_answer *answer,
                         int64_t now_s, struct http_fault *fault)
{
    enum aws_question question = credentials->question;
    int status;

    if (question == FOR_CONTAINER)
        status = take_container(credentials, answer, now_s, fault);
    else if (question == FOR_ROLE || question == FOR_WEB_IDENTITY)
        status = take_sts(credentials, answer, now_s, fault);
    else
        status = take_instance(credentials, answer, now_s, fault);
    return status ? aws_credentials_unanswered(credentials, now_s, fault) : 0;
}
