/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fake_host.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_AT_LEAST_US 2000000

int64_t host_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * HOST_SECOND + now.tv_nsec / 1000;
}

/* The clock without the time that this thread was ready to run and another had the processor: how long an
 * operation takes is not the machine's load. */
static int64_t work_now(void)
{
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    unsigned long long ran_ns, waited_ns = 0;

    if (file) {
        if (fscanf(file, "%llu %llu", &ran_ns, &waited_ns) != 2)
            waited_ns = 0;
        fclose(file);
    }
    return host_now() - (int64_t)(waited_ns / 1000);
}

int64_t host_patience(int64_t us)
{
    const char *times = getenv("SLUICE_TEST_PATIENCE");

    return us * (times && atoi(times) > 0 ? atoi(times) : 1);
}

static void violate(struct sluice_host *host, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A test cannot be left from within the connector: the first violation is told at the next turn. */
static void violate(struct sluice_host *host, const char *format, ...)
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
        violate(host, "unknown state %u", state);
        return;
    }
    if (!silent && (!text || !*text))
        violate(host, "state %u without a text that says what to do", state);
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
        violate(host, "lane %s opened outside receive", info->name);
    for (size_t i = 0; i < host->lane_count; i++)
        if (!host->lanes[i].lost && !strcmp(host->lanes[i].name, info->name))
            violate(host, "lane %s opened, but it is open", info->name);
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
        violate(host, "lane %s closes outside receive", lane->name);
    if (lane->closing || lane->lost)
        violate(host, "lane %s closes twice", lane->name);
    lane->closing = true;
    if (!host->drain_later && host->connector->lane_drained)
        host->connector->lane_drained(host->instance, lane->cookie);
}

static void on_lane_lost(struct sluice_host *host, void *cookie)
{
    struct host_lane *lane = lane_at(host, cookie);

    if (!host->receiving && !host->closing_all)
        violate(host, "lane %s lost outside receive and close", lane->name);
    if (lane->lost)
        violate(host, "lane %s lost twice", lane->name);
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
        violate(host, "the number of headers changed");
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

static void record_position(const char *lane, uint64_t position)
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
        violate(host, "%s: asked for its position outside receive, or without need", lane->name);
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
        violate(host, "a message for the lane %s, which is gone", lane->name);
    if (host_can(host) & SLUICE_NEEDS_POSITION &&
        (!find_record(lane->name) || source->position < find_record(lane->name)->position))
        violate(host, "%s: position %llu, which is not recorded as unfinished", lane->name,
                (unsigned long long)source->position);
    if (lane->any && source->position <= lane->newest)
        violate(host, "%s: position %llu after %llu", lane->name,
                (unsigned long long)source->position, (unsigned long long)lane->newest);
    if (!source->handle)
        violate(host, "a message without a handle");
    if (!host->left.messages || !host->left.bytes)
        violate(host, "a message without room for it");
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
        violate(host, "messages outside receive");
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
        record_position(lane->name, position);

    if (!host->receiving)
        violate(host, "settled outside receive");
    if (lane->lost)
        violate(host, "%s: settled, but it is gone", lane->name);
    if (!(host_can(host) & SLUICE_CAN_SETTLE_UP_TO))
        violate(host, "settled without SLUICE_CAN_SETTLE_UP_TO");
    if (position > lane->told)
        lane->told = position;
}

static void on_published(struct sluice_host *host, void *cookie, const char *error)
{
    (void)cookie;
    if (!host->receiving && !host->closing_all)
        violate(host, "published outside receive and close");
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
        violate(host, "stopped outside receive, or twice");
    host->stopped = true;
}

static void on_settle_failed(struct sluice_host *host, uint32_t requests)
{
    if (!host->receiving || !requests)
        violate(host, "settle_failed outside receive, or of nothing");
}

static const struct sluice_host_api host_api = {
    .struct_size = sizeof host_api,
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

/* ---- life ---- */

const struct sluice_connector *host_load(const char *name)
{
    const char *build = getenv("SLUICE_BUILD");
    char path[4096];
    sluice_connector_fn symbol;
    void *library, *address;

    snprintf(path, sizeof path, "%s/connectors/sluice-%s.so", build ? build : "build", name);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    address = dlsym(library, SLUICE_CONNECTOR_SYMBOL);
    assert_non_null(address);
    memcpy(&symbol, &address, sizeof symbol);
    return symbol();
}

struct sluice_host *host_new(const struct sluice_connector *connector)
{
    struct sluice_host *host = calloc(1, sizeof *host);

    host->connector = connector;
    host->values.host = host;
    host->room = (struct sluice_room){HOST_FOREVER, HOST_FOREVER};
    return host;
}

void host_property(struct sluice_host *host, const char *map, const char *key, const char *value)
{
    assert_true(host->option_count < sizeof host->options / sizeof host->options[0]);
    host->options[host->option_count++] = (struct host_option){map, key, strdup(value)};
}

void host_option(struct sluice_host *host, const char *name, const char *value)
{
    host_property(host, name, NULL, value);
}

uint32_t host_can(const struct sluice_host *host)
{
    return host->connector->capabilities_with ? host->connector->capabilities_with(&values_api, &host->values)
                                              : host->connector->capabilities;
}

/* The operations promise not to block. `since_us` is of work_now. */
static void took(struct sluice_host *host, int64_t since_us)
{
    int64_t took_us = work_now() - since_us;

    if (took_us > host->longest_us)
        host->longest_us = took_us;
}

int host_open(struct sluice_host *host)
{
    int result;

    if (host->publishes)
        host->room = (struct sluice_room){0};
    result = (host->publishes ? host->connector->open_publisher
                              : host->connector->open)(host, &host_api, &host->values,
                                                       &host->instance);
    if (result)
        host->instance = NULL;
    return result;
}

void host_start(struct sluice_host *host, const char *name)
{
    int64_t begin_us = work_now();

    assert_int_equal(host->connector->start(host->instance, name), 0);
    took(host, begin_us);
    host->started = true;
}

void host_run(struct sluice_host *host, const char *name)
{
    if (host_open(host))
        fail_msg("open refuses: %s", host->refused);
    host_start(host, name);
}

static void close_instance(struct sluice_host *host)
{
    int64_t begin_us = host_now();

    if (!host->instance)
        return;
    host->closing_all = true;
    host->connector->close(host->instance);
    host->instance = NULL;
    if (host_now() - begin_us > host_patience(8 * HOST_SECOND))
        violate(host, "close took %lld ms", (long long)(host_now() - begin_us) / 1000);
    if (host_open_lanes(host))
        violate(host, "close left %zu lanes open", host_open_lanes(host));
    for (size_t i = 0; i < host->message_count; i++)
        if (host->messages[i].handle)
            violate(host, "close left messages unreleased");
}

void host_free(struct sluice_host *host)
{
    close_instance(host);
    if (host->longest_us > host_patience(HOST_SECOND / 2))
        violate(host, "an operation took %lld ms", (long long)host->longest_us / 1000);
    if (host->violation[0])
        fail_msg("%s", host->violation);
    for (size_t i = 0; i < host->message_count; i++)
        record_free(&host->messages[i].record);
    for (size_t i = 0; i < host->option_count; i++)
        free(host->options[i].value);
    free(host->messages);
    free(host->lanes);
    free(host);
}

/* ---- turning ---- */

static void receive(struct sluice_host *host)
{
    int64_t begin_us = work_now(), again_us;

    host->left = host->room;
    host->receiving = true;
    again_us = host->connector->receive(host->instance, &host->room);
    host->receiving = false;
    host->receives++;
    took(host, begin_us);
    if (again_us < 0 || again_us > RECEIVE_AT_LEAST_US)
        again_us = RECEIVE_AT_LEAST_US;
    host->due_us = host_now() + again_us;
}

void hosts_turn(struct sluice_host **hosts, size_t count, int64_t wait_us)
{
    struct pollfd fds[8];
    int64_t now_us = host_now(), until_us = now_us + wait_us;

    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++) {
        bool live = hosts[i]->instance && hosts[i]->started && !hosts[i]->stopped;

        fds[i] = (struct pollfd){
            .fd = live ? hosts[i]->connector->descriptor(hosts[i]->instance) : -1,
            .events = POLLIN};
        if (live && hosts[i]->due_us < until_us)
            until_us = hosts[i]->due_us;
    }
    poll(fds, count, until_us > now_us ? (int)((until_us - now_us + 999) / 1000) : 0);
    for (size_t i = 0; i < count; i++) {
        if (fds[i].fd >= 0 && (fds[i].revents || host_now() >= hosts[i]->due_us))
            receive(hosts[i]);
        if (hosts[i]->violation[0])
            fail_msg("%s", hosts[i]->violation);
    }
}

void hosts_until(struct sluice_host **hosts, size_t count, host_done_fn done, void *argument,
                 int64_t timeout_us, const char *what)
{
    int64_t until_us = host_now() + host_patience(timeout_us);

    while (!done(argument)) {
        if (host_now() >= until_us)
            fail_msg("waited %lld s in vain for: %s (state %u %s, %zu messages, %zu lanes)",
                     (long long)(host_patience(timeout_us) / HOST_SECOND), what, hosts[0]->state,
                     hosts[0]->state_text, hosts[0]->message_count, host_open_lanes(hosts[0]));
        hosts_turn(hosts, count, 20000);
    }
}

void hosts_stay(struct sluice_host **hosts, size_t count, host_done_fn done, void *argument,
                int64_t time_us, const char *what)
{
    int64_t until_us = host_now() + time_us;

    while (host_now() < until_us) {
        if (done && done(argument))
            fail_msg("%s", what);
        hosts_turn(hosts, count, 20000);
    }
}

struct wanted {
    struct sluice_host *host;
    size_t messages;
    uint32_t state;
};

static bool has_messages(void *argument)
{
    struct wanted *wanted = argument;

    return wanted->host->message_count >= wanted->messages;
}

void host_wait_messages(struct sluice_host *host, size_t count)
{
    struct wanted wanted = {.host = host, .messages = count};
    char what[64];

    snprintf(what, sizeof what, "%zu messages", count);
    hosts_until(&host, 1, has_messages, &wanted, 20 * HOST_SECOND, what);
}

static bool has_state(void *argument)
{
    struct wanted *wanted = argument;

    return wanted->host->state == wanted->state;
}

void host_wait_state(struct sluice_host *host, uint32_t state)
{
    struct wanted wanted = {.host = host, .state = state};
    char what[64];

    snprintf(what, sizeof what, "state %u", state);
    hosts_until(&host, 1, has_state, &wanted, 30 * HOST_SECOND, what);
}

size_t host_open_lanes(const struct sluice_host *host)
{
    size_t count = 0;

    for (size_t i = 0; i < host->lane_count; i++)
        count += !host->lanes[i].lost;
    return count;
}

/* ---- settling ---- */

void host_release(struct sluice_host *host, size_t message)
{
    void *handle = host->messages[message].handle;

    host->messages[message].handle = NULL;
    if (handle)
        host->connector->release(host->instance, &handle, 1);
}

static uint32_t settle(struct sluice_host *host, size_t index, uint32_t action, int64_t delay_us)
{
    struct host_message *message = &host->messages[index];
    bool up_to = host_can(host) & SLUICE_CAN_SETTLE_UP_TO;
    struct sluice_settle_item item = {
        .lane = host->lanes[message->lane].cookie,
        .handle = up_to ? NULL : message->handle,
        .position = message->position,
        .action = action,
        .delay_us = delay_us,
        .result = 77,
    };
    int64_t begin_us = work_now();

    assert_false(host->lanes[message->lane].lost);
    if (host_can(host) & SLUICE_NEEDS_POSITION) /* durable before it is settled */
        record_position(host->lanes[message->lane].name, message->position + 1);
    host->connector->settle(host->instance, &item, 1);
    took(host, begin_us);
    assert_in_range(item.result, 0, 1);
    message->settled = true;
    return item.result;
}

uint32_t host_settle(struct sluice_host *host, size_t index)
{
    return settle(host, index, SLUICE_ACCEPT, 0);
}

void host_give_back(struct sluice_host *host, size_t index, int64_t delay_us)
{
    assert_int_equal(settle(host, index, SLUICE_RELEASE, delay_us), 0);
    host_release(host, index);
}

void host_settle_all(struct sluice_host *host)
{
    bool up_to = host_can(host) & SLUICE_CAN_SETTLE_UP_TO;

    for (size_t i = 0; i < host->message_count; i++) {
        const struct host_message *message = &host->messages[i];
        const struct host_lane *lane = &host->lanes[message->lane];

        if (message->settled || lane->lost)
            continue;
        if (!up_to || message->position == lane->newest)
            host_settle(host, i);
        host->messages[i].settled = true;
        host_release(host, i);
    }
}

static bool is_stopped(void *argument)
{
    return ((struct sluice_host *)argument)->stopped;
}

void host_stop(struct sluice_host *host, int64_t deadline_us)
{
    host->due_us = 0;
    host->connector->stop(host->instance, deadline_us);
    hosts_until(&host, 1, is_stopped, host, deadline_us + HOST_SECOND, "stopped");
}
