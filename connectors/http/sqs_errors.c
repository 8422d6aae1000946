/* SPDX-License-Identifier: MIT
 * Errors of SQS: {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "..."}. */
#include <stdio.h>
#include <string.h>

#include "json_read.h"
#include "sqs.h"

/* An entry that ends with `*` is a beginning. */
static const struct sqs_meaning meanings[] = {
    {"QueueDoesNotExist", SLUICE_STATE_MISSING,
     "the queue does not exist: check sqs.queue, the region and the account"},
    {"AWS.SimpleQueueService.NonExistentQueue", SLUICE_STATE_MISSING,
     "the queue does not exist: check sqs.queue, the region and the account"},
    {"InvalidAddress", SLUICE_STATE_MISSING, "check the queue's URL"},
    {"Throttl*", SLUICE_STATE_UNREACHABLE, "SQS slows us down; it is tried again"},
    {"RequestThrottled*", SLUICE_STATE_UNREACHABLE, "SQS slows us down; it is tried again"},
    {"TooManyRequests*", SLUICE_STATE_UNREACHABLE, "SQS slows us down; it is tried again"},
    {"RequestLimitExceeded", SLUICE_STATE_UNREACHABLE, "SQS slows us down; it is tried again"},
    {"SlowDown", SLUICE_STATE_UNREACHABLE, "SQS slows us down; it is tried again"},
    {"KmsThrottled", SLUICE_STATE_UNREACHABLE, "KMS slows SQS down; it is tried again"},
    {"KMS.ThrottlingException", SLUICE_STATE_UNREACHABLE, "KMS slows SQS down; it is tried again"},
    {"OverLimit", SLUICE_STATE_UNREACHABLE,
     "too many messages of the queue are in flight (120,000); it is tried again"},
    {"InternalFailure", SLUICE_STATE_UNREACHABLE, "it is tried again"},
    {"InternalError", SLUICE_STATE_UNREACHABLE, "it is tried again"},
    {"ServiceUnavailable*", SLUICE_STATE_UNREACHABLE, "it is tried again"},
    {"RequestTimeout*", SLUICE_STATE_UNREACHABLE, "it is tried again"},
    {"ExpiredToken*", SLUICE_STATE_UNAUTHORISED,
     "the session ended: give a new sqs.session_token with its keys, or keys that last"},
    {"InvalidClientTokenId", SLUICE_STATE_UNAUTHORISED,
     "AWS does not know the access key, or it was made inactive: give another one"},
    {"UnrecognizedClient*", SLUICE_STATE_UNAUTHORISED,
     "AWS does not know the access key or its session token: give another one"},
    {"InvalidAccessKeyId", SLUICE_STATE_UNAUTHORISED, "AWS does not know the access key: give another one"},
    {"SignatureDoesNotMatch", SLUICE_STATE_UNAUTHORISED,
     "the secret is not that of the access key, or the region is another one: check "
     "sqs.secret_access_key and sqs.region"},
    {"InvalidSignature*", SLUICE_STATE_UNAUTHORISED,
     "the secret is not that of the access key, or the region is another one: check "
     "sqs.secret_access_key and sqs.region"},
    {"RequestExpired", SLUICE_STATE_UNAUTHORISED, "check this machine's clock"},
    {"RequestTimeTooSkewed", SLUICE_STATE_UNAUTHORISED, "check this machine's clock"},
    {"IncompleteSignature*", SLUICE_STATE_UNAUTHORISED, "check the access key"},
    {"MissingAuthentication*", SLUICE_STATE_UNAUTHORISED, "requests must be signed: set sqs.credentials"},
    {"InvalidSecurity", SLUICE_STATE_UNAUTHORISED, "SQS takes requests by https:// only"},
    {"AccessDenied*", SLUICE_STATE_UNAUTHORISED,
     "the identity needs sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and "
     "sqs:GetQueueUrl on the queue, sqs:SendMessage to publish, and sqs:GetQueueAttributes for the lag"},
    {"KmsAccessDenied", SLUICE_STATE_UNAUTHORISED, "the identity needs kms:Decrypt on the queue's key"},
    {"KMS.AccessDeniedException", SLUICE_STATE_UNAUTHORISED,
     "the identity needs kms:Decrypt on the queue's key"},
    {"OptInRequired", SLUICE_STATE_UNAUTHORISED, "the account has not signed up for SQS in this region"},
};

const struct sqs_meaning *sqs_errors_meaning(const char *code)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        size_t size = strlen(meanings[i].code);

        if (meanings[i].code[size - 1] == '*' ? !strncmp(code, meanings[i].code, size - 1)
                                              : !strcmp(code, meanings[i].code))
            return &meanings[i];
    }
    return NULL;
}

bool sqs_errors_code(json_t *root, char ret[SQS_CODE_MOST])
{
    const char *type = json_string_value(json_object_get(root, "__type")), *code;

    if (!type)
        return false;
    code = strrchr(type, '#');
    snprintf(ret, SQS_CODE_MOST, "%s", code ? code + 1 : type);
    return *ret;
}

json_t *sqs_errors_text(json_t *root)
{
    json_t *text = json_object_get(root, "message");

    return text ? text : json_object_get(root, "Message");
}

static bool begins(const char *code, const char *with)
{
    return !strncmp(code, with, strlen(with));
}

/* What SQS says of a length it says also of what a correction of the mapping cures, so the text must tell: "One or
 * more parameters are invalid. Reason: Message must be shorter than 1048576 bytes." ElasticMQ puts the code that
 * SQS once had into the text. */
static bool tells_length(const char *code, const char *text)
{
    const char *limit = strstr(text, "must be shorter than ");

    return (begins(code, "InvalidParameterValue") && limit && strstr(limit, " bytes")) ||
           (begins(code, "InvalidAttributeValue") && !strcmp(text, "MessageTooLong"));
}

bool sqs_errors_refuses(const struct http_answer *answer)
{
    json_t *root = answer->status == 400 ? json_read(answer) : NULL;
    const char *text = json_string_value(sqs_errors_text(root));
    char code[SQS_CODE_MOST];
    bool refuses = false;

    if (sqs_errors_code(root, code))
        refuses = begins(code, "InvalidMessageContents") || strstr(code, "BatchRequestTooLong") ||
                  (text && tells_length(code, text));
    json_decref(root);
    return refuses;
}
