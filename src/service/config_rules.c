/* SPDX-License-Identifier: MIT */
#include "service/config_rules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sluice/connector.h>

#include "base/file.h"
#include "base/units.h"
#include "core/envelope.h"
#include "io/http_probe.h"
#include "service/options.h"

struct check {
    const struct mapping *mapping;
    const struct sluice_values *settings;
    struct problems *problems;
};

/* Whether a key was written, and well. */
static bool is_given(const struct check *check, const char *name)
{
    return options_is_written(check->settings, name) && !options_is_wrong(check->settings, name);
}

/* Whether it was written in the mapping's own file rather than in the defaults. */
static bool is_own(const struct check *check, const char *name)
{
    return is_given(check, name) &&
           strcmp(options_place(check->settings, name).file, check->mapping->file) == 0;
}

/* Whether a rule about these two can be tried: neither was a mistake already. */
static bool are_fine(const struct check *check, const char *one, const char *other)
{
    return !options_is_wrong(check->settings, one) && !options_is_wrong(check->settings, other);
}

/* The place of the first of two keys that was written. */
static struct place place_of(const struct check *check, const char *one, const char *other)
{
    return options_place(check->settings, options_is_written(check->settings, one) ? one : other);
}

#define REFUSE(check_, one_, other_, ...)                                                          \
    problem_add((check_)->problems, place_of(check_, one_, other_), __VA_ARGS__)
#define WARN(check_, one_, other_, ...)                                                            \
    problem_warn((check_)->problems, place_of(check_, one_, other_), __VA_ARGS__)

static bool can(const struct check *check, uint32_t capability)
{
    return !check->mapping->connector || (check->mapping->capabilities & capability);
}

static const char *kind_of(const struct check *check)
{
    return mapping_kind(check->mapping);
}

/* ---- times ---- */

static void check_age(const struct check *check)
{
    const struct rules *rules = &check->mapping->rules;
    const int64_t age = rules->retry.age_us;
    char age_text[UNITS_TEXT], other[UNITS_TEXT];

    if (!age || options_is_wrong(check->settings, "retry.age"))
        return;
    units_print_duration(age, age_text);
    if (age < rules->batch.window_us && are_fine(check, "retry.age", "batch.window"))
        REFUSE(check, "retry.age", "batch.window",
               "retry.age: %s is shorter than batch.window (%s), so no message would be tried "
               "twice; make it longer, or leave it out",
               age_text, units_print_duration(rules->batch.window_us, other));
    else if (age < rules->retry.backoff_first_us && are_fine(check, "retry.age", "retry.backoff"))
        REFUSE(check, "retry.age", "retry.backoff",
               "retry.age: %s is shorter than the first pause of retry.backoff (%s), so no message "
               "would be tried twice; make it longer, or leave it out",
               age_text, units_print_duration(rules->retry.backoff_first_us, other));
    else if (age < rules->retry.backoff_most_us && are_fine(check, "retry.age", "retry.backoff"))
        WARN(
            check, "retry.age", "retry.backoff",
            "retry.age: %s is shorter than the longest pause of retry.backoff (%s), which is never "
            "waited for",
            age_text, units_print_duration(rules->retry.backoff_most_us, other));
    else if (age < check->mapping->target.timeout_us &&
             are_fine(check, "retry.age", "target.http.timeout"))
        WARN(check, "retry.age", "target.http.timeout",
             "retry.age: %s is shorter than target.http.timeout (%s), so a message may be given up "
             "after its second invocation timed out",
             age_text, units_print_duration(check->mapping->target.timeout_us, other));
}

static void check_timeouts(const struct check *check)
{
    const struct http_settings *target = &check->mapping->target;
    char one[UNITS_TEXT], other[UNITS_TEXT];

    if (target->connect_timeout_us > target->timeout_us &&
        are_fine(check, "target.http.connect_timeout", "target.http.timeout"))
        REFUSE(check, "target.http.connect_timeout", "target.http.timeout",
               "target.http.connect_timeout: %s is longer than target.http.timeout (%s), which "
               "counts from the beginning too",
               units_print_duration(target->connect_timeout_us, one),
               units_print_duration(target->timeout_us, other));
    if (check->mapping->drain_us < target->timeout_us && is_given(check, "drain"))
        WARN(check, "drain", "target.http.timeout",
             "drain: %s is shorter than target.http.timeout (%s); a stop may cut invocations off, "
             "which are then repeated",
             units_print_duration(check->mapping->drain_us, one),
             units_print_duration(target->timeout_us, other));
}

/* ---- amounts ---- */

static void check_amounts(const struct check *check)
{
    const struct rules *rules = &check->mapping->rules;
    char one[UNITS_TEXT], other[UNITS_TEXT];

    if (rules->buffer_messages < rules->batch.size && is_given(check, "buffer.messages") &&
        are_fine(check, "buffer.messages", "batch.size"))
        REFUSE(check, "buffer.messages", "batch.size",
               "buffer.messages: %" PRIu32 " is less than batch.size (%" PRIu32
               "), so no batch would ever be full",
               rules->buffer_messages, rules->batch.size);
    if (rules->buffer_bytes < rules->batch.bytes && is_given(check, "buffer.bytes") &&
        are_fine(check, "buffer.bytes", "batch.bytes"))
        REFUSE(check, "buffer.bytes", "batch.bytes",
               "buffer.bytes: %s is less than batch.bytes (%s), so no batch would ever be full",
               units_print_bytes((int64_t)rules->buffer_bytes, one),
               units_print_bytes((int64_t)rules->batch.bytes, other));
    if (rules->distance < rules->batch.size && are_fine(check, "buffer.distance", "batch.size"))
        REFUSE(check, "buffer.distance", "batch.size",
               "buffer.distance: %" PRIu32 " is less than batch.size (%" PRIu32
               "), so no batch of one lane would ever be full",
               rules->distance, rules->batch.size);
    if (rules->batch.size == 1 && is_own(check, "batch.window") && rules->batch.window_us)
        WARN(check, "batch.window", "batch.size",
             "batch.window: has no effect where batch.size is 1");
}

/* ---- what the connector can do ---- */

static void check_order(const struct check *check)
{
    if (!is_given(check, "order"))
        return;
    if (check->mapping->rules.order == ORDER_KEY && !can(check, SLUICE_HAS_KEY))
        REFUSE(check, "order", "order",
               "order: key, but messages of %s have no keys; use lane or none",
               kind_of(check));
    if (check->mapping->rules.order == ORDER_LANE && !can(check, SLUICE_IS_ORDERED))
        WARN(
            check, "order", "order",
            "order: lane, but %s keeps no order itself; messages are invoked in the order in which "
            "they arrive, one batch of a lane at a time",
            kind_of(check));
}

static void check_pollers(const struct check *check)
{
    if (check->mapping->connector && can(check, SLUICE_NEEDS_POSITION) && check->mapping->pollers > 1)
        REFUSE(check, "pollers", "pollers",
               "pollers: found %u, but each would take all that this source has, as it shares nothing out; "
               "leave it at 1, and let target.http.concurrency do the rest",
               check->mapping->pollers);
}

static void check_park(const struct check *check)
{
    static const char *const names[] = {"retry.park_after", "retry.park_bytes"};
    const struct rules *rules = &check->mapping->rules;
    /* What its source would drop is parked all the same. */
    bool may_drop = check->mapping->connector && can(check, SLUICE_HAS_DELIVERY_COUNT);

    for (size_t i = 0; i < (may_drop ? 1 : 2); i++)
        if (is_own(check, names[i]) && rules->order == ORDER_LANE && rules->retry.park_after_us)
            WARN(check, names[i], "order",
                 "%s: has no effect with order: lane, where the lane waits for a retry however long it is",
                 names[i]);
}

static void check_token(const struct check *check)
{
    const struct token_settings *token = &check->mapping->rules.token;
    const char *name = "idempotency.token", *connector = kind_of(check);
    const char *text = options_text(check->settings, name);

    if (options_is_wrong(check->settings, name) ||
        (token->source == TOKEN_POSITION && text && strcmp(text, "position") != 0))
        return; /* refused already */
    if (token->source == TOKEN_KEY && !can(check, SLUICE_HAS_KEY))
        REFUSE(check, name, name, "idempotency.token: key, but messages of %s have no keys",
               connector);
    if (token->source == TOKEN_MESSAGE_ID && !can(check, SLUICE_HAS_MESSAGE_ID))
        REFUSE(check, name, name,
               "idempotency.token: message_id, but messages of %s have no such id; use "
               "header:NAME or a JSON Pointer",
               connector);
    if (token->source == TOKEN_POSITION && !can(check, SLUICE_HAS_STABLE_IDENTITY))
        REFUSE(check, name, name,
               "idempotency.token: position, but %s gives a message another one each time; use "
               "message_id, header:NAME or a JSON Pointer",
               connector);
    if (token->source == TOKEN_POSITION || token->source == TOKEN_HASH) {
        if (is_own(check, "idempotency.on_missing"))
            WARN(check, "idempotency.on_missing", name,
                 "idempotency.on_missing: has no effect, as every message has a position and a "
                 "hash");
        if (is_own(check, "idempotency.on_conflict"))
            WARN(check, "idempotency.on_conflict", name,
                 "idempotency.on_conflict: has no effect, as this token names one payload only");
    }
    if (token->source == TOKEN_MESSAGE_ID && !text && !can(check, SLUICE_HAS_STABLE_IDENTITY))
        WARN(check, name, name,
             "idempotency.token: unset, so a message is named by its message id; one without it "
             "cannot be recognised when %s delivers it again, and is then invoked again. If "
             "producers set none, name it by header:NAME, a JSON Pointer or hash; if they do, say "
             "message_id",
             connector);
}

/* ---- target ---- */

static void check_format(const struct check *check)
{
    const struct rules *rules = &check->mapping->rules;

    if (rules->format == ENVELOPE_RAW && rules->batch.size > 1 && is_given(check, "batch.size"))
        REFUSE(check, "batch.size", "target.format",
               "batch.size: found %" PRIu32 ", but target.format: raw sends one message at a time; "
               "set it to 1, or use the format json",
               rules->batch.size);
    if (rules->format == ENVELOPE_RAW && rules->partial_response)
        REFUSE(check, "target.report_failures", "target.format",
               "target.report_failures: has no meaning with target.format: raw, where the status "
               "tells about the one message; take it out, or use the format json");
    if (rules->format == ENVELOPE_LAMBDA && check->mapping->connector &&
        !envelope_has_lambda(kind_of(check)))
        REFUSE(check, "target.format", "target.format",
               "target.format: lambda is AWS's event, which there is none of for %s; use json or raw",
               kind_of(check));
}

static void check_auth(const struct check *check)
{
    static const char *const user = "target.http.auth.basic.username";
    static const char *const password = "target.http.auth.basic.password";
    static const char *const bearer = "target.http.auth.bearer";
    const struct http_settings *target = &check->mapping->target;
    bool has_user = is_given(check, user), has_password = is_given(check, password);

    if (is_given(check, bearer) && (has_user || has_password))
        REFUSE(check, bearer, bearer,
               "target.http.auth: found both basic and bearer, expected one of them");
    else if (has_user != has_password && are_fine(check, user, password))
        REFUSE(check, user, password, "target.http.auth.basic: found the %s alone, expected %s too",
               has_user ? "username" : "password", has_user ? "the password" : "the username");
    if (target->auth != HTTP_AUTH_NONE && target->url && !target->unix_socket &&
        !http_probe_is_private(target->url))
        WARN(check, "target.http.auth.bearer", user,
             "target.http.auth: a secret goes over the network unencrypted; use https://");
}

static void check_file(const struct check *check, const char *name)
{
    const char *path = options_text(check->settings, name);

    if (path && access(path, R_OK) != 0)
        REFUSE(check, name, name, "%s: %s cannot be read: %s", name, path, strerror(errno));
}

static void check_tls(const struct check *check)
{
    static const char *const certificate = "target.http.tls.certificate_file";
    static const char *const key = "target.http.tls.key_file";
    static const char *const names[] = {"target.http.tls.ca_file", certificate, key,
                                        "target.http.tls.key_password"};
    const char *url = check->mapping->target.url;
    size_t i;

    for (i = 0; i < 3; i++)
        check_file(check, names[i]);
    if (is_given(check, certificate) != is_given(check, key) && are_fine(check, certificate, key))
        REFUSE(check, certificate, key, "%s: found it alone, expected %s too",
               is_given(check, certificate) ? certificate : key,
               is_given(check, certificate) ? "key_file" : "certificate_file");
    if (check->mapping->target.insecure)
        WARN(check, "target.http.tls.verify", "target.http.tls.verify",
             "target.http.tls.verify: false, so anybody on the way can pose as the function");
    if (mapping_trusts_any_source(check->mapping))
        problem_warn(check->problems, options_place(check->mapping->values, "tls.verify"),
                     "source.%s.tls.verify: false, so anybody on the way can pose as the broker",
                     check->mapping->connector->name);
    if (mapping_trusts_any_place(check->mapping))
        problem_warn(check->problems,
                     options_place(check->mapping->letters_to.values, "tls.verify"),
                     "dead_letter.to.%s.tls.verify: false, so anybody on the way can pose as the "
                     "broker",
                     check->mapping->letters_to.connector->name);
    for (i = 0; url && strncmp(url, "http://", 7) == 0 && i < 4; i++)
        if (is_own(check, names[i]))
            WARN(check, names[i], names[i], "%s: has no effect with an http:// address", names[i]);
}

/* Certificates and keys: whoever can change one can pose as the other side. */
static void check_whose(const struct check *check, const struct sluice_values *values,
                        const struct sluice_option *option)
{
    const char *path = options_text(values, option->name), *ending;
    struct place place = options_place(values, option->name);
    struct fault fault = {""};
    struct stat status;

    if (!path || stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    ending = strrchr(option->name, '.');
    if (file_check_owner(path, "the file", &fault) != 0)
        problem_add(check->problems, place, "%s: %s", option->name, fault.text);
    else if (ending && strcmp(ending, ".key_file") == 0 && (status.st_mode & S_IROTH))
        problem_warn(check->problems, place, "%s: %s, a private key, can be read by everybody; run "
                     "chmod o-r %s", option->name, path, path);
}

static void check_files(const struct check *check, const struct sluice_values *values)
{
    const struct sluice_option *option;

    for (option = values ? options_table(values) : NULL; option && option->name; option++)
        if (option->type == OPTION_PATH ||
            (option->type == SLUICE_STRING && option->flags & SLUICE_OPTION_FILE))
            check_whose(check, values, option);
}

void config_rules_check(const struct mapping *mapping, struct problems *problems)
{
    const struct check check = {mapping, mapping->settings, problems};

    check_age(&check);
    check_timeouts(&check);
    check_amounts(&check);
    check_order(&check);
    check_park(&check);
    check_pollers(&check);
    check_token(&check);
    check_format(&check);
    check_auth(&check);
    check_tls(&check);
    check_files(&check, mapping->settings);
    check_files(&check, mapping->values);
    if (!mapping->letters_to.is_source)
        check_files(&check, mapping->letters_to.values);
}
