/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "aws_credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws_files.h"
#include "aws_requests.h"

#define EARLY_S  300 /* new keys are asked for this long before the old ones end */
#define AGAIN_S  30  /* pause after a failure while those that are there still last */

enum source { NONE, KEYS, ENVIRONMENT, PROFILE, WEB_IDENTITY, CONTAINER, INSTANCE };

static const char *const source_names[] = {"none",         "keys",      "environment", "profile",
                                           "web_identity", "container", "instance"};

/* What was asked for last. */
enum question { NOTHING, FOR_WEB_IDENTITY, FOR_ROLE, FOR_CONTAINER, FOR_TOKEN, FOR_NAME, FOR_KEYS };

struct temporary {
    struct aws_keys keys; /* `id` is NULL where there are none */
    int64_t renew_s, end_s;
};

struct aws_credentials {
    enum source source;
    char *profile;
    const char *region;
    struct temporary base; /* from the source */
    bool takes_role;       /* then requests are signed with `assumed`, for which STS is asked with `base` */
    struct temporary assumed;
    struct aws_role role;
    char *token_file;
    enum question question;
    char *token, *name; /* of the instance's service, and its role */
    int64_t hold_s;     /* until then those that are there do */
    char cure[300];
};

/* ---- life ---- */

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static void wipe_temporary(struct temporary *temporary)
{
    aws_keys_wipe(&temporary->keys);
    *temporary = (struct temporary){0};
}

static void wipe_role(struct aws_credentials *credentials)
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
    wipe_role(credentials);
    wipe(&credentials->token);
    wipe(&credentials->name);
    free(credentials->profile);
    free(credentials);
}

void aws_credentials_forget(struct aws_credentials *credentials)
{
    if (credentials->source != KEYS)
        wipe_temporary(&credentials->base);
    wipe_temporary(&credentials->assumed);
    credentials->hold_s = 0;
}

static struct temporary *current(struct aws_credentials *credentials)
{
    return credentials->takes_role ? &credentials->assumed : &credentials->base;
}

const struct aws_keys *aws_credentials_keys(const struct aws_credentials *credentials)
{
    return credentials->source == NONE ? NULL
           : credentials->takes_role   ? &credentials->assumed.keys
                                       : &credentials->base.keys;
}

/* ---- where keys are ---- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static int copy_keys(struct aws_keys *ret, const char *id, const char *secret, const char *session)
{
    *ret = (struct aws_keys){strdup(id), strdup(secret), session ? strdup(session) : NULL};
    if (ret->id && ret->secret && (ret->session || !session))
        return 0;
    aws_keys_wipe(ret);
    return -1;
}

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
    if (!reader->refused && copy_keys(&credentials->base.keys, id, secret, session))
        reader->refused = true; /* no memory */
}

/* The profile's settings that say how its keys are got; what is not done here is told. */
static int read_profile(struct aws_credentials *credentials, struct aws_files *files, char *ret_problem,
                        size_t room)
{
    static const char *const others[] = {"credential_process", "sso_session", "sso_start_url"};
    const char *profile = credentials->profile;
    char *id = aws_files_value(files, profile, "aws_access_key_id"), *other = NULL;
    int status = 0;

    wipe_role(credentials);
    credentials->role.arn = aws_files_value(files, profile, "role_arn");
    credentials->role.session = aws_files_value(files, profile, "role_session_name");
    credentials->role.external_id = aws_files_value(files, profile, "external_id");
    credentials->token_file = aws_files_value(files, profile, "web_identity_token_file");
    for (size_t i = 0; !id && !credentials->role.arn && i < 3 && !other; i++)
        if ((other = aws_files_value(files, profile, others[i])))
            snprintf(ret_problem, room,
                     "profile %.80s has %s, which sluice does not do: use a profile with keys, or with "
                     "role_arn and source_profile, credential_source or web_identity_token_file",
                     profile, others[i]);
    if (!aws_files_has(files, profile))
        snprintf(ret_problem, room,
                 "there is no profile %.80s in the files credentials and config of ~/.aws, or where "
                 "AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE say",
                 profile);
    else if (!other && !id && !credentials->role.arn)
        snprintf(ret_problem, room, "profile %.80s has neither aws_access_key_id nor role_arn", profile);
    status = id || credentials->role.arn ? 0 : -1;
    credentials->takes_role = !id && credentials->role.arn && !credentials->token_file;
    free(id);
    free(other);
    return status;
}

static bool profile_has_keys(struct aws_credentials *credentials)
{
    char problem[HTTP_TEXT];
    struct aws_files files;
    bool has;

    if (aws_files_read(&files, problem, sizeof problem))
        return true; /* which then says what is wrong */
    has = aws_files_has(&files, credentials->profile) &&
          !read_profile(credentials, &files, problem, sizeof problem);
    wipe_role(credentials);
    aws_files_free(&files);
    return has;
}

static bool environment_has_identity(void)
{
    return environment("AWS_WEB_IDENTITY_TOKEN_FILE") && environment("AWS_ROLE_ARN");
}

/* The first place that has something, in the order of AWS's SDKs. */
static enum source find_source(struct http_reader *reader, struct aws_credentials *credentials)
{
    if (http_is_set(reader, "sqs.access_key_id") || http_is_set(reader, "sqs.secret_access_key"))
        return KEYS;
    if (http_is_set(reader, "sqs.profile"))
        return PROFILE;
    if (environment("AWS_ACCESS_KEY_ID") && environment("AWS_SECRET_ACCESS_KEY"))
        return ENVIRONMENT;
    if (environment_has_identity())
        return WEB_IDENTITY;
    if (profile_has_keys(credentials))
        return PROFILE;
    return aws_has_container() ? CONTAINER : INSTANCE;
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

    if (credentials->source == PROFILE)
        snprintf(place, sizeof place, "by profile %.60s of the shared files", credentials->profile);
    else
        snprintf(place, sizeof place, "%s", where[credentials->source]);
    snprintf(credentials->cure, sizeof credentials->cure, "keys are got %s%s", place,
             found && credentials->source == INSTANCE
                 ? ", as there are none in the mapping (sqs.access_key_id), the environment or ~/.aws"
                 : "");
}

/* What is asked for must be there already, so that `check` can say what is missing. */
static void look_for(struct http_reader *reader, struct aws_credentials *credentials)
{
    char problem[HTTP_TEXT] = "";
    struct aws_files files;

    if (credentials->source == ENVIRONMENT &&
        !(environment("AWS_ACCESS_KEY_ID") && environment("AWS_SECRET_ACCESS_KEY")))
        http_refuse(reader, "sqs.credentials",
                    "environment, but AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
    if (credentials->source == WEB_IDENTITY && !environment_has_identity())
        http_refuse(reader, "sqs.credentials",
                    "web_identity, but AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are not set");
    if (credentials->source != PROFILE)
        return;
    if (aws_files_read(&files, problem, sizeof problem)) {
        http_refuse(reader, "sqs.profile", "%s", problem);
        return;
    }
    if (read_profile(credentials, &files, problem, sizeof problem))
        http_refuse(reader, "sqs.profile", "%s", problem);
    aws_files_free(&files);
}

static void refuse_unused(struct http_reader *reader, const struct aws_credentials *credentials)
{
    static const char *const keys[] = {"sqs.access_key_id", "sqs.secret_access_key", "sqs.session_token"};

    for (size_t i = 0; i < 3; i++)
        if (credentials->source != KEYS && http_is_set(reader, keys[i]))
            http_refuse(reader, keys[i], "is not used where keys are got otherwise (%s): take one out",
                        source_names[credentials->source]);
    if (credentials->source != PROFILE && http_is_set(reader, "sqs.profile"))
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
        profile = environment("AWS_PROFILE");
    credentials->profile = strdup(profile ? profile : "default");
    if (!credentials->profile) {
        aws_credentials_free(credentials);
        return NULL;
    }
    if (!given)
        credentials->source = find_source(reader, credentials);
    for (size_t i = 0; given && i < sizeof source_names / sizeof *source_names; i++)
        if (!strcmp(given, source_names[i]))
            credentials->source = (enum source)i;
    set_cure(credentials, !given);
    refuse_unused(reader, credentials);
    if (credentials->source == KEYS)
        read_keys(reader, credentials);
    look_for(reader, credentials);
    if (!reader->refused)
        return credentials;
    aws_credentials_free(credentials);
    return NULL;
}

char *aws_credentials_region(const struct aws_credentials *credentials)
{
    const char *region = environment("AWS_REGION");
    char problem[HTTP_TEXT], *found = NULL;
    struct aws_files files;

    if (!region)
        region = environment("AWS_DEFAULT_REGION");
    if (region)
        return strdup(region);
    if (!aws_files_read(&files, problem, sizeof problem)) {
        found = aws_files_value(&files, credentials->profile, "region");
        aws_files_free(&files);
    }
    return found;
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

static bool is_fresh(const struct temporary *temporary, int64_t now_s)
{
    return temporary->keys.id && (!temporary->end_s || now_s < temporary->renew_s);
}

static bool is_valid(const struct temporary *temporary, int64_t now_s)
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
    const char *id = environment("AWS_ACCESS_KEY_ID"), *secret = environment("AWS_SECRET_ACCESS_KEY");

    if (!id || !secret || copy_keys(&credentials->base.keys, id, secret, environment("AWS_SESSION_TOKEN")))
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
    int status = !id || !secret || copy_keys(&credentials->base.keys, id, secret, session);

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
    if (read_profile(credentials, &files, problem, sizeof problem))
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
    case ENVIRONMENT:
        return take_environment(credentials, fault);
    case PROFILE:
        return ask_profile(credentials, ret, fault);
    case WEB_IDENTITY:
        return ask_identity(credentials, getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), ret, fault);
    case CONTAINER:
        return ask_container(credentials, ret, fault);
    case INSTANCE:
        return ask_instance(credentials, ret, fault);
    default:
        return 0;
    }
}

int aws_credentials_ask(struct aws_credentials *credentials, int64_t now_s,
                        struct http_request *ret_request, struct http_fault *fault)
{
    struct temporary *keys = current(credentials);
    int status = 0;

    if (credentials->source == NONE || is_fresh(keys, now_s) ||
        (now_s < credentials->hold_s && is_valid(keys, now_s)))
        return 0;
    credentials->question = NOTHING;
    if (!is_fresh(&credentials->base, now_s)) {
        struct temporary old = credentials->base;

        credentials->base = (struct temporary){0};
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

static int take_keys(struct temporary *ret, struct aws_keys *keys, int64_t end_s, int64_t now_s,
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
    *ret = (struct temporary){*keys, end_s - (lasts_s > 2 * EARLY_S ? EARLY_S : lasts_s / 2), end_s};
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
    enum question question = credentials->question;
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
        if (assumed && credentials->source != KEYS)
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
    enum question question = credentials->question;
    int status = question == FOR_CONTAINER                                   ? take_container(credentials, answer, now_s, fault)
                 : question == FOR_ROLE || question == FOR_WEB_IDENTITY ? take_sts(credentials, answer, now_s, fault)
                                                                        : take_instance(credentials, answer, now_s, fault);

    return status ? aws_credentials_unanswered(credentials, now_s, fault) : 0;
}
