/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fake_api.h"

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
    return host->connector->capabilities_with ? host->connector->capabilities_with(fake_api.values, &host->values)
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
                              : host->connector->open)(host, &fake_api, &host->values,
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
        host_violate(host, "close took %lld ms", (long long)(host_now() - begin_us) / 1000);
    if (host_open_lanes(host))
        host_violate(host, "close left %zu lanes open", host_open_lanes(host));
    for (size_t i = 0; i < host->message_count; i++)
        if (host->messages[i].handle)
            host_violate(host, "close left messages unreleased");
}

void host_free(struct sluice_host *host)
{
    close_instance(host);
    if (host->longest_us > host_patience(HOST_SECOND / 2))
        host_violate(host, "an operation took %lld ms", (long long)host->longest_us / 1000);
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
        host_record_position(host->lanes[message->lane].name, message->position + 1);
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
