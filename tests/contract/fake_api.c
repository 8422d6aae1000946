/* SPDX-License-Identifier: MIT
 * What the connector under test is given: its options, and what it calls. */
#include "fake_api.h"

/* A test cannot be left from within the connector: the first violation is told at the next turn. */
void host_violate(struct sluice_host *host, const char *format, ...)
{
    va_list arguments;

    if (host->violation[0])
        return;
    va_start(arguments, format);
    vsnprintf(host->violation, sizeof host->violation, format, arguments);
    va_end(arguments);
}

/* ---- records ---- */

static struct sluice_bytes copy_bytes(struct sluice_bytes bytes)
{
    char *copy;

    if (!bytes.data)
        return (struct sluice_bytes){NULL, 0};
    copy = malloc(bytes.size + 1);
    memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = '\0';
    return (struct sluice_bytes){copy, bytes.size};
}

static bool same_bytes(struct sluice_bytes a, struct sluice_bytes b)
{
    return !a.data == !b.data && a.size == b.size &&
           (!a.size || memcmp(a.data, b.data, a.size) == 0);
}

bool record_same(const struct record *a, const struct record *b)
{
    if (!same_bytes(a->key, b->key) || !same_bytes(a->payload, b->payload) ||
        a->header_count != b->header_count)
        return false;
    for (size_t i = 0; i < a->header_count; i++)
        if (!same_bytes(a->headers[i].name, b->headers[i].name) ||
            !same_bytes(a->headers[i].value, b->headers[i].value))
            return false;
    return true;
}

void record_free(struct record *record)
{
    free((void *)(uintptr_t)record->key.data);
    free((void *)(uintptr_t)record->payload.data);
    for (size_t i = 0; i < record->header_count; i++) {
        free((void *)(uintptr_t)record->headers[i].name.data);
        free((void *)(uintptr_t)record->headers[i].value.data);
    }
    free(record->headers);
}

/* ---- option values ---- */

static const struct sluice_option *declared(struct sluice_host *host, const char *name)
{
    const struct sluice_option *option = host->connector->options;

    while (option->name && strcmp(option->name, name))
        option++;
    if (!option->name)
        fail_msg("the connector asks for the option %s, which is not in its table", name);
    return option;
}

static const char *value_at(struct sluice_host *host, const char *name, size_t index,
                            const char **ret_key)
{
    const struct sluice_option *option = declared(host, name);
    size_t seen = 0;

    for (size_t i = 0; i < host->option_count; i++)
        if (!strcmp(host->options[i].name, name) && seen++ == index) {
            if (ret_key)
                *ret_key = host->options[i].key;
            return host->options[i].value;
        }
    return seen || index ? NULL : option->default_text;
}

static struct sluice_host *host_of(const struct sluice_values *values)
{
    return values->host;
}

static bool value_is_set(const struct sluice_values *values, const char *name)
{
    return value_at(host_of(values), name, 0, NULL) != NULL;
}

static const char *value_text(const struct sluice_values *values, const char *name)
{
    return value_at(host_of(values), name, 0, NULL);
}

static int64_t value_number(const struct sluice_values *values, const char *name)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"", 1},           {"us", 1},          {"ms", 1000},       {"s", HOST_SECOND},
                 {"m", 60000000},   {"h", 3600000000},  {"B", 1},           {"KiB", 1 << 10},
                 {"MiB", 1 << 20},  {"GiB", 1 << 30},   {"kB", 1000},       {"MB", 1000000}};
    const char *text = value_text(values, name);
    char *unit;
    long long number;

    if (!text || !strcmp(text, "false"))
        return 0;
    if (!strcmp(text, "true"))
        return 1;
    number = strtoll(text, &unit, 10);
    unit += *unit == ' ';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (!strcmp(units[i].unit, unit))
            return number * units[i].factor;
    fail_msg("%s: cannot read \"%s\"", name, text);
    return 0;
}

static size_t value_count(const struct sluice_values *values, const char *name)
{
    size_t count = 0;

    while (value_at(host_of(values), name, count, NULL))
        count++;
    return count;
}

static const char *value_item(const struct sluice_values *values, const char *name, size_t index,
                              const char **ret_map_value)
{
    const char *key = NULL, *value = value_at(host_of(values), name, index, &key);

    if (declared(host_of(values), name)->type != SLUICE_MAP)
        return value;
    *ret_map_value = value;
    return key;
}

static void value_refuse(const struct sluice_values *values, const char *name, const char *reason)
{
    struct sluice_host *host = host_of(values);

    snprintf(host->refused, sizeof host->refused, "%s: %s", name, reason);
}

static const struct sluice_values_api values_api = {
    .struct_size = sizeof values_api,
    .is_set = value_is_set,
    .text = value_text,
    .number = value_number,
    .count = value_count,
    .item = value_item,
    .refuse = value_refuse,
};

/* ---- what the connector calls ---- */

static void on_log(struct sluice_host *host, uint32_t level, const char *event, const char *text)
{
    (void)host;
    if (level < SLUICE_LOG_ERROR || level > SLUICE_LOG_DEBUG || !event || !text)
        abort();
    if (level < SLUICE_LOG_DEBUG || getenv("SLUICE_TEST_DEBUG"))
        fprintf(stderr, "# %s: %s\n", event, text);
}

static void on_state(struct sluice_host *host, uint32_t state, const char *text)
{
    bool silent = state == SLUICE_STATE_CONNECTING || state == SLUICE_STATE_RUNNING;

    if (state < SLUICE_STATE_CONNECTING || state > SLUICE_STATE_FAILED) {
        host_violate(host, "unknown state %u", state);
        return;
    }
    if (!silent && (!text || !*text))
        host_violate(host, "state %u without a text that says what to do", state);
    host->state = state;
    host->states_seen |= 1u << state;
    snprintf(host->state_text, sizeof host->state_text, "%s", text ? text : "");
}

static struct host_lane *lane_at(struct sluice_host *host, void *cookie)
{
    return &host->lanes[(size_t)(uintptr_t)cookie - 1];
}

static void *on_lane_opened(struct sluice_host *host, const struct sluice_lane *info)
{
    struct host_lane *lane;

    if (!host->receiving)
        host_violate(host, "lane %s opened outside receive", info->name);
    for (size_t i = 0; i < host->lane_count; i++)
        if (!host->lanes[i].lost && !strcmp(host->lanes[i].name, info->name))
            host_violate(host, "lane %s opened, but it is open", info->name);
    host->lanes = realloc(host->lanes, (host->lane_count + 1) * sizeof *host->lanes);
    lane = &host->lanes[host->lane_count++];
    *lane = (struct host_lane){.cookie = info->cookie};
    snprintf(lane->name, sizeof lane->name, "%s", info->name);
    return (void *)(uintptr_t)host->lane_count;
}

static void on_lane_closing(struct sluice_host *host, void *cookie)
{
    struct host_lane *lane = lane_at(host, cookie);

    if (!host->receiving)
        host_violate(host, "lane %s closes outside receive", lane->name);
    if (lane->closing || lane->lost)
        host_violate(host, "lane %s closes twice", lane->name);
    lane->closing = true;
    if (!host->drain_later && host->connector->lane_drained)
        host->connector->lane_drained(host->instance, lane->cookie);
}

static void on_lane_lost(struct sluice_host *host, void *cookie)
{
    struct host_lane *lane = lane_at(host, cookie);

    if (!host->receiving && !host->closing_all)
        host_violate(host, "lane %s lost outside receive and close", lane->name);
    if (lane->lost)
        host_violate(host, "lane %s lost twice", lane->name);
    for (size_t i = 0; i < host->message_count; i++)
        if (lane_at(host, (void *)(uintptr_t)(host->messages[i].lane + 1)) == lane)
            host_release(host, i);
    lane->lost = true;
}

static void copy_headers(struct sluice_host *host, const struct sluice_message *source,
                         struct record *record)
{
    size_t count;

    if (!source->has_headers)
        return;
    count = host->connector->headers(host->instance, source->handle, NULL, 0);
    record->headers = calloc(count + 1, sizeof *record->headers);
    record->header_count = count;
    if (host->connector->headers(host->instance, source->handle, record->headers, count) != count)
        host_violate(host, "the number of headers changed");
    for (size_t i = 0; i < count; i++) {
        record->headers[i].name = copy_bytes(record->headers[i].name);
        record->headers[i].value = copy_bytes(record->headers[i].value);
    }
}

/* ---- the record of lanes whose source remembers nothing ---- */

static struct recorded {
    char lane[300];
    uint64_t position;
} records[8];
static size_t record_count;

static struct recorded *find_record(const char *lane)
{
    for (size_t i = 0; i < record_count; i++)
        if (!strcmp(records[i].lane, lane))
            return &records[i];
    return NULL;
}

uint64_t host_recorded(const char *lane)
{
    const struct recorded *found = find_record(lane);

    return found ? found->position : 0;
}

void host_record_position(const char *lane, uint64_t position)
{
    struct recorded *found = find_record(lane);

    if (!found) {
        assert_true(record_count < sizeof records / sizeof *records);
        found = &records[record_count++];
        snprintf(found->lane, sizeof found->lane, "%s", lane);
    }
    found->position = position;
}

static int on_lane_position(struct sluice_host *host, void *cookie, uint64_t *ret_position)
{
    const struct host_lane *lane = lane_at(host, cookie);
    const struct recorded *found = find_record(lane->name);

    if (!host->receiving || !(host_can(host) & SLUICE_NEEDS_POSITION))
        host_violate(host, "%s: asked for its position outside receive, or without need", lane->name);
    if (found)
        *ret_position = found->position;
    return found != NULL;
}

/* ---- messages ---- */

static void check_message(struct sluice_host *host, const struct sluice_message *source)
{
    struct host_lane *lane = lane_at(host, source->lane);
    size_t bytes = source->key.size + source->payload.size;

    if (lane->lost)
        host_violate(host, "a message for the lane %s, which is gone", lane->name);
    if (host_can(host) & SLUICE_NEEDS_POSITION &&
        (!find_record(lane->name) || source->position < find_record(lane->name)->position))
        host_violate(host, "%s: position %llu, which is not recorded as unfinished", lane->name,
                (unsigned long long)source->position);
    if (lane->any && source->position <= lane->newest)
        host_violate(host, "%s: position %llu after %llu", lane->name,
                (unsigned long long)source->position, (unsigned long long)lane->newest);
    if (!source->handle)
        host_violate(host, "a message without a handle");
    if (!host->left.messages || !host->left.bytes)
        host_violate(host, "a message without room for it");
    host->left.messages -= host->left.messages > 0;
    host->left.bytes -= bytes < host->left.bytes ? bytes : host->left.bytes;
    lane->any = true;
    lane->newest = source->position;
    lane->delivered++;
}

static void on_deliver(struct sluice_host *host, const struct sluice_message *messages,
                       size_t count)
{
    if (!host->receiving)
        host_violate(host, "messages outside receive");
    for (size_t i = 0; i < count; i++) {
        struct host_message *message;

        check_message(host, &messages[i]);
        if (host->message_count % 1024 == 0)
            host->messages = realloc(host->messages,
                                     (host->message_count + 1024) * sizeof *host->messages);
        message = &host->messages[host->message_count++];
        *message = (struct host_message){
            .lane = (size_t)(uintptr_t)messages[i].lane - 1,
            .position = messages[i].position,
            .handle = messages[i].handle,
            .record = {.key = copy_bytes(messages[i].key),
                       .payload = copy_bytes(messages[i].payload)},
            .timestamp_kind = messages[i].timestamp_kind,
        };
        copy_headers(host, &messages[i], &message->record);
        if (!host->keep)
            host_release(host, host->message_count - 1);
    }
}

static void on_settled(struct sluice_host *host, void *cookie, uint64_t position)
{
    struct host_lane *lane = lane_at(host, cookie);

    if (host_can(host) & SLUICE_NEEDS_POSITION && !find_record(lane->name))
        host_record_position(lane->name, position);

    if (!host->receiving)
        host_violate(host, "settled outside receive");
    if (lane->lost)
        host_violate(host, "%s: settled, but it is gone", lane->name);
    if (!(host_can(host) & SLUICE_CAN_SETTLE_UP_TO))
        host_violate(host, "settled without SLUICE_CAN_SETTLE_UP_TO");
    if (position > lane->told)
        lane->told = position;
}

static void on_published(struct sluice_host *host, void *cookie, const char *error)
{
    (void)cookie;
    if (!host->receiving && !host->closing_all)
        host_violate(host, "published outside receive and close");
    host->published += !error;
    host->unpublished += error != NULL;
    if (error)
        snprintf(host->publish_error, sizeof host->publish_error, "%s", error);
}

static void on_unpublishable(struct sluice_host *host, void *cookie, const char *error)
{
    host->unpublishable++;
    on_published(host, cookie, error ? error : "");
}

static void on_stopped(struct sluice_host *host)
{
    if (!host->receiving || host->stopped)
        host_violate(host, "stopped outside receive, or twice");
    host->stopped = true;
}

static void on_settle_failed(struct sluice_host *host, uint32_t requests)
{
    if (!host->receiving || !requests)
        host_violate(host, "settle_failed outside receive, or of nothing");
}

const struct sluice_host_api fake_api = {
    .struct_size = sizeof fake_api,
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .values = &values_api,
    .log = on_log,
    .state = on_state,
    .lane_opened = on_lane_opened,
    .lane_closing = on_lane_closing,
    .lane_lost = on_lane_lost,
    .deliver = on_deliver,
    .settled = on_settled,
    .published = on_published,
    .stopped = on_stopped,
    .settle_failed = on_settle_failed,
    .unpublishable = on_unpublishable,
    .lane_position = on_lane_position,
};
