/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "rabbitmq_source.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

#define QUEUES 2
#define SOCKET "SLUICE_CONTRACT_RABBITMQ"
#define PORT   "SLUICE_CONTRACT_RABBITMQ_PORT"

struct source {
    FILE *in, *out; /* to the script */
    amqp_connection_state_t connection; /* straight to the broker */
    int port;
    char queues[QUEUES][64];
    size_t produced;
};

static char letters[64]; /* a queue to publish to; a process has one source */

bool rabbitmq_begin(void)
{
    char command[1200], line[512] = "", directory[512], path[600];
    FILE *script;
    int in[2];

    if (getenv(SOCKET))
        return true;
    assert_non_null(getcwd(directory, sizeof directory));
    snprintf(command, sizeof command, "exec '%s/rabbitmq_server' '%s' <&%d", TEST_CONTRACT,
             directory, 9);
    /* The script's input ends with this process. */
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(dup2(in[0], 9), 9);
    script = popen(command, "r");
    close(9);
    assert_non_null(script);
    while (fgets(line, sizeof line, script) && strncmp(line, "ready ", 6) &&
           strncmp(line, "skip ", 5)) {}
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "ready ", 6) != 0) {
        print_message("skipped: %s\n", *line ? line + 5 : "RabbitMQ does not start");
        return false;
    }
    snprintf(path, sizeof path, "%s/socket", directory);
    setenv(SOCKET, path, 1);
    setenv(PORT, line + 6, 1);
    return true;
}

static const char *ask(struct source *source, const char *question)
{
    static char answer[512];

    fprintf(source->out, "%s\n", question);
    fflush(source->out);
    if (!fgets(answer, sizeof answer, source->in))
        fail_msg("the broker's script gave no answer to %s", question);
    answer[strcspn(answer, "\n")] = '\0';
    return answer;
}

static void succeeded(amqp_connection_state_t connection, const char *what)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(connection);

    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        fail_msg("%s failed", what);
}

static struct source *start_with(const char *question)
{
    struct source *source = calloc(1, sizeof *source);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    amqp_socket_t *tcp;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv(SOCKET));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    source->in = fdopen(fd, "r");
    source->out = fdopen(dup(fd), "w");
    assert_int_equal(
        sscanf(ask(source, question), "%d %63s %63s %63s", &source->port, source->queues[0],
               source->queues[1], letters),
        4);
    source->connection = amqp_new_connection();
    tcp = amqp_tcp_socket_new(source->connection);
    assert_int_equal(amqp_socket_open(tcp, "127.0.0.1", atoi(getenv(PORT))), 0);
    assert_int_equal(amqp_login(source->connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
                                "guest", "guest").reply_type,
                     AMQP_RESPONSE_NORMAL);
    amqp_channel_open(source->connection, 1);
    succeeded(source->connection, "opening a channel");
    amqp_tx_select(source->connection, 1);
    succeeded(source->connection, "tx.select");
    return source;
}

static struct source *start(void)
{
    return start_with("new");
}

static struct source *start_stream(void)
{
    return start_with("new stream");
}

static void stop(struct source *source)
{
    amqp_destroy_connection(source->connection);
    fclose(source->out);
    fclose(source->in);
    free(source);
}

static void set_options(struct source *source, struct sluice_host *host)
{
    char server[32], timeout[32];

    snprintf(server, sizeof server, "127.0.0.1:%d", source->port);
    host_option(host, "hosts", server);
    host_option(host, "heartbeat", "2s");
    snprintf(timeout, sizeof timeout, "%dms", (int)(host_patience(4 * HOST_SECOND) / 1000));
    host_option(host, "connect_timeout", timeout);
}

static void options(struct source *source, struct sluice_host *host)
{
    set_options(source, host);
    for (size_t i = 0; i < QUEUES; i++)
        host_option(host, "queue", source->queues[i]);
    host_option(host, "prefetch", "600"); /* cases hold so many of each */
}

static void options_of_stream(struct source *source, struct sluice_host *host)
{
    set_options(source, host);
    host_option(host, "queue", source->queues[0]);
    host_option(host, "stream_offset", "first");
    host_option(host, "prefetch", "1200");
}

static amqp_bytes_t bytes(struct sluice_bytes from)
{
    return (amqp_bytes_t){from.size, (void *)(uintptr_t)from.data};
}

static void produce_one(struct source *source, unsigned lane, const struct record *record)
{
    amqp_table_entry_t entries[8];
    amqp_basic_properties_t properties = {0};

    assert_in_range(record->header_count, 0, 8);
    for (size_t i = 0; i < record->header_count; i++) {
        entries[i].key = bytes(record->headers[i].name);
        entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
        entries[i].value.value.bytes = bytes(record->headers[i].value);
    }
    if (record->header_count) {
        properties._flags = AMQP_BASIC_HEADERS_FLAG;
        properties.headers = (amqp_table_t){(int)record->header_count, entries};
    }
    assert_int_equal(amqp_basic_publish(source->connection, 1, amqp_empty_bytes,
                                        amqp_cstring_bytes(source->queues[lane]), 0, 0, &properties,
                                        bytes(record->payload)),
                     0);
}

static void produce(struct source *source, unsigned lane, const struct record *records,
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        produce_one(source, lane, &records[i]);
    source->produced += count;
    amqp_tx_commit(source->connection, 1);
    succeeded(source->connection, "tx.commit");
}

static size_t unsettled(struct source *source)
{
    return strtoul(ask(source, "unsettled"), NULL, 10);
}

/* A stream forgets nothing: what is settled is what the hosts have recorded. */
static size_t unfinished(struct source *source)
{
    return source->produced - (size_t)host_recorded(source->queues[0]);
}

static struct sluice_bytes copy(amqp_bytes_t from)
{
    char *to = malloc(from.len + 1);

    if (from.len)
        memcpy(to, from.bytes, from.len);
    return (struct sluice_bytes){to, from.len};
}

/* A list of texts is a header for each of them. */
static void read_header(const amqp_table_entry_t *entry, struct record *record)
{
    const amqp_field_value_t *values = &entry->value;
    int count = 1;

    if (entry->value.kind == AMQP_FIELD_KIND_ARRAY) {
        count = entry->value.value.array.num_entries;
        values = entry->value.value.array.entries;
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(values[i].kind, AMQP_FIELD_KIND_UTF8);
        record->headers[record->header_count++] =
            (struct sluice_header){copy(entry->key), copy(values[i].value.bytes)};
    }
}

static bool read_letter(struct source *source, const char *destination, struct record *ret_record)
{
    amqp_rpc_reply_t reply =
        amqp_basic_get(source->connection, 1, amqp_cstring_bytes(destination), 1);
    amqp_message_t message;

    if (reply.reply_type != AMQP_RESPONSE_NORMAL || reply.reply.id != AMQP_BASIC_GET_OK_METHOD)
        return false;
    assert_int_equal(amqp_read_message(source->connection, 1, &message, 0).reply_type,
                     AMQP_RESPONSE_NORMAL);
    *ret_record = (struct record){.payload = copy(message.body),
                                  .headers = calloc(64, sizeof *ret_record->headers)};
    assert_int_equal(message.properties.delivery_mode, 2);
    for (int i = 0; i < message.properties.headers.num_entries; i++)
        read_header(&message.properties.headers.entries[i], ret_record);
    amqp_destroy_message(&message);
    amqp_maybe_release_buffers(source->connection);
    return true;
}

const char *rabbitmq_queue(struct source *source)
{
    return source->queues[0];
}

static void down(struct source *source)
{
    ask(source, "down");
}

static void up(struct source *source)
{
    ask(source, "up");
}

const struct source_kind rabbitmq_kind = {
    .connector = "rabbitmq",
    .lanes = QUEUES,
    .start = start,
    .stop = stop,
    .options = options,
    .produce = produce,
    .unsettled = unsettled,
    .read = read_letter,
    .destination = letters,
    .no_destination = "no-such-queue",
    .down = down,
    .up = up,
};

const struct source_kind rabbitmq_stream_kind = {
    .connector = "rabbitmq",
    .prefix = "stream_",
    .lanes = 1,
    .own_headers = (const char *const[]){"x-stream-offset", "amqp:deliveryMode", NULL}, /* the latter from version 4 */
    .start = start_stream,
    .stop = stop,
    .options = options_of_stream,
    .produce = produce,
    .unsettled = unfinished,
    .read = read_letter,
    .destination = letters,
    .no_destination = "no-such-queue",
    .down = down,
    .up = up,
};
