/* SPDX-License-Identifier: MIT
 * A connector that does what a test says, right or wrong. It connects to the test's socket (option
 * `socket`, SOCK_SEQPACKET, one line a packet), obeys, and tells what the host does.
 *
 *   open L | closing L | lost L              lane events of the lane `lane/L`, L from 0 to 9
 *   deliver L FIRST COUNT SIZE               whatever room there is; payloads {"id":"L-POSITION"}
 *   settled L POSITION | state S TEXT | stopped
 *   room                                     answers `room MESSAGES BYTES`, as offered now
 *   held                                     answers `held N`: messages not yet released
 *   block MS                                 does not return from receive for so long
 *
 * It tells `start`, `settle L POSITION`, `alone L POSITION` (settled by its handle), `drained L`,
 * `pause L 0|1`, `stop`, `close HELD`, and `wrong ...` where the host breaks the ABI. What it can is
 * taken from SLUICE_SCRIPTED_CAPABILITIES. `start` fails as often as the option `failing_starts`
 * says. */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sluice/connector.h>

#define LANES 10

struct scripted_message {
    int lane;
    uint64_t position;
    bool settled;
    char payload[];
};

struct scripted {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const char *socket;
    int64_t failing_starts;
    int fd;
    void *lanes[LANES];        /* the host's cookies */
    bool open[LANES], draining[LANES];
    long held, held_of[LANES];
    struct sluice_room room;
};

static void tell(struct scripted *scripted, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(struct scripted *scripted, const char *format, ...)
{
    char line[256];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (scripted->fd >= 0)
        send(scripted->fd, line, (size_t)size, MSG_NOSIGNAL);
}

static int open_scripted(struct sluice_host *host, const struct sluice_host_api *api,
                         const struct sluice_values *values, void **ret_instance)
{
    struct scripted *scripted = calloc(1, sizeof *scripted);

    scripted->host = host;
    scripted->api = api;
    scripted->socket = api->values->text(values, "socket");
    scripted->failing_starts = api->values->number(values, "failing_starts");
    scripted->fd = -1;
    *ret_instance = scripted;
    return 0;
}

static int start(void *instance, const char *name)
{
    struct scripted *scripted = instance;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (scripted->failing_starts-- > 0) {
        scripted->api->state(scripted->host, SLUICE_STATE_FAILED, "told to fail");
        return -1;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scripted->socket);
    scripted->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(scripted->fd, (struct sockaddr *)&address, sizeof address))
        abort();
    tell(scripted, "start %s", name);
    return 0;
}

static int descriptor(void *instance)
{
    return ((struct scripted *)instance)->fd;
}

static void open_lane(struct scripted *scripted, int number)
{
    char name[16];
    struct sluice_lane lane = {.name = name, .source = "lane", .partition = number};

    snprintf(name, sizeof name, "lane/%d", number);
    lane.cookie = &scripted->lanes[number];
    scripted->open[number] = true;
    scripted->lanes[number] = scripted->api->lane_opened(scripted->host, &lane);
}

static void lose_lane(struct scripted *scripted, int number)
{
    scripted->open[number] = scripted->draining[number] = false;
    scripted->api->lane_lost(scripted->host, scripted->lanes[number]);
    if (scripted->held_of[number])
        tell(scripted, "wrong: lane %d lost, but %ld messages not released", number,
             scripted->held_of[number]);
}

static void deliver(struct scripted *scripted, int lane, unsigned long long first, int count,
                    size_t size)
{
    for (int i = 0; i < count; i++) {
        struct scripted_message *own = calloc(1, sizeof *own + size + 64);
        struct sluice_message message = {.lane = scripted->lanes[lane], .handle = own};
        int length = snprintf(own->payload, 64, "{\"id\":\"%d-%llu\",\"pad\":\"", lane,
                              first + (unsigned)i);

        memset(own->payload + length, 'x', size);
        memcpy(own->payload + length + size, "\"}", 2);
        own->lane = lane;
        own->position = message.position = first + (unsigned)i;
        message.payload = (struct sluice_bytes){own->payload, (size_t)length + size + 2};
        scripted->held++;
        scripted->held_of[lane]++;
        scripted->api->deliver(scripted->host, &message, 1);
    }
}

static void obey(struct scripted *scripted, const char *line)
{
    unsigned long long position;
    int lane, count, end = 0;
    size_t size;
    unsigned state;

    if (sscanf(line, "open %d", &lane) == 1)
        open_lane(scripted, lane);
    else if (sscanf(line, "closing %d", &lane) == 1) {
        scripted->draining[lane] = true;
        scripted->api->lane_closing(scripted->host, scripted->lanes[lane]);
    } else if (sscanf(line, "lost %d", &lane) == 1)
        lose_lane(scripted, lane);
    else if (sscanf(line, "deliver %d %llu %d %zu", &lane, &position, &count, &size) == 4)
        deliver(scripted, lane, position, count, size);
    else if (sscanf(line, "settled %d %llu", &lane, &position) == 2)
        scripted->api->settled(scripted->host, scripted->lanes[lane], position);
    else if (sscanf(line, "state %u %n", &state, &end) == 1)
        scripted->api->state(scripted->host, state, line[end] ? line + end : NULL);
    else if (sscanf(line, "block %d", &count) == 1)
        poll(NULL, 0, count);
    else if (!strcmp(line, "room"))
        tell(scripted, "room %zu %zu", scripted->room.messages, scripted->room.bytes);
    else if (!strcmp(line, "held"))
        tell(scripted, "held %ld", scripted->held);
    else if (!strcmp(line, "stopped"))
        scripted->api->stopped(scripted->host);
    else
        tell(scripted, "wrong: unknown command %s", line);
}

static int64_t receive(void *instance, const struct sluice_room *room)
{
    struct scripted *scripted = instance;
    char line[256];
    ssize_t size;

    scripted->room = *room;
    while ((size = recv(scripted->fd, line, sizeof line - 1, MSG_DONTWAIT)) > 0) {
        line[size] = '\0';
        obey(scripted, line);
    }
    return 1000000;
}

static void settle(void *instance, struct sluice_settle_item *items, size_t count)
{
    struct scripted *scripted = instance;

    for (size_t i = 0; i < count; i++) {
        int lane = (int)((void **)items[i].lane - scripted->lanes);
        struct scripted_message *message = items[i].handle;

        items[i].result = 0;
        if (lane < 0 || lane >= LANES || !scripted->open[lane])
            tell(scripted, "wrong: settles in a lane that is not open");
        else if (message && message->settled)
            tell(scripted, "wrong: settles %d-%llu twice", lane,
                 (unsigned long long)message->position);
        else
            tell(scripted, "%s %d %llu", message ? "alone" : "settle", lane,
                 (unsigned long long)items[i].position);
        if (message)
            message->settled = true;
    }
}

static void release(void *instance, void *const *handles, size_t count)
{
    struct scripted *scripted = instance;

    for (size_t i = 0; i < count; i++) {
        struct scripted_message *message = handles[i];

        scripted->held--;
        scripted->held_of[message->lane]--;
        free(message);
    }
}

static void pause_lane(void *instance, void *lane, bool paused)
{
    struct scripted *scripted = instance;

    tell(scripted, "pause %d %d", (int)((void **)lane - scripted->lanes), paused);
}

static void lane_drained(void *instance, void *lane)
{
    struct scripted *scripted = instance;
    int number = (int)((void **)lane - scripted->lanes);

    if (!scripted->draining[number])
        tell(scripted, "wrong: lane %d drained, but it was not closing", number);
    tell(scripted, "drained %d", number);
}

static void stop(void *instance, int64_t deadline_us)
{
    (void)deadline_us;
    tell(instance, "stop");
}

static void close_scripted(void *instance)
{
    struct scripted *scripted = instance;

    for (int i = 0; i < LANES; i++)
        if (scripted->open[i])
            lose_lane(scripted, i);
    tell(scripted, "close %ld", scripted->held);
    if (scripted->fd >= 0)
        close(scripted->fd);
    free(scripted);
}

static const struct sluice_option options[] = {
    {"socket", SLUICE_STRING, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "Where the test listens."},
    /* A list in Kafka's connector; the host must not care. */
    {"brokers", SLUICE_STRING, SLUICE_OPTION_SERVERS, "none", 0, 0, NULL, "Nothing."},
    {"failing_starts", SLUICE_INT, 0, "0", 0, 100, NULL, "How often start fails."},
    {0},
};

static struct sluice_connector scripted_connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof scripted_connector,
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .name = "scripted",
    .version = "1",
    .description = "What a test says",
    .options = options,
    .open = open_scripted,
    .start = start,
    .descriptor = descriptor,
    .receive = receive,
    .settle = settle,
    .release = release,
    .pause_lane = pause_lane,
    .lane_drained = lane_drained,
    .stop = stop,
    .close = close_scripted,
};

__attribute__((visibility("default"))) const struct sluice_connector *sluice_connector(void);

const struct sluice_connector *sluice_connector(void)
{
    const char *capabilities = getenv("SLUICE_SCRIPTED_CAPABILITIES");

    scripted_connector.capabilities =
        capabilities ? (uint32_t)strtoul(capabilities, NULL, 0)
                     : SLUICE_CAN_SETTLE_UP_TO | SLUICE_IS_ORDERED | SLUICE_HAS_STABLE_IDENTITY |
                           SLUICE_CAN_PAUSE_LANE;
    return &scripted_connector;
}
