/* SPDX-License-Identifier: MIT
 * Getting to a broker, and away from it. */
#define _GNU_SOURCE
#include "link_inside.h"

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define SYSTEM_CA     "/etc/ssl/certs/ca-certificates.crt"
#define CHANNELS_MOST 2047
#define FRAME_MOST    131072
#define CLOSE_US      (RABBIT_SECOND)
#define LOOK_FIRST_US (2 * RABBIT_SECOND) /* until then a stream of which little is left is read to its end */
#define GOOD_US       (10 * RABBIT_SECOND) /* a connection that lasted so long is no failed try */

/* Why a broker cannot be used. */
struct failure {
    uint32_t state; /* enum sluice_state */
    char text[RABBIT_TEXT];
};

static void fail(struct failure *failure, uint32_t state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct failure *failure, uint32_t state, const char *format, ...)
{
    va_list arguments;

    failure->state = state;
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof failure->text, format, arguments);
    va_end(arguments);
}

void link_copy_text(amqp_bytes_t bytes, char *text, size_t room)
{
    size_t size = bytes.len < room - 1 ? bytes.len : room - 1;

    if (size)
        memcpy(text, bytes.bytes, size);
    text[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
}

void link_read_refusal(const amqp_rpc_reply_t *reply, struct link_refusal *ret_refusal)
{
    *ret_refusal = (struct link_refusal){0, "it gave no answer"};
    if (reply->reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        snprintf(ret_refusal->text, sizeof ret_refusal->text, "%s",
                 amqp_error_string2(reply->library_error));
    } else if (reply->reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
               reply->reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *close = reply->reply.decoded;

        ret_refusal->code = close->reply_code;
        link_copy_text(close->reply_text, ret_refusal->text, sizeof ret_refusal->text);
    } else if (reply->reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
               reply->reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *close = reply->reply.decoded;

        ret_refusal->code = close->reply_code;
        link_copy_text(close->reply_text, ret_refusal->text, sizeof ret_refusal->text);
    }
}

static struct timeval time_of(int64_t us)
{
    return (struct timeval){.tv_sec = us / RABBIT_SECOND, .tv_usec = us % RABBIT_SECOND};
}

void link_set_rpc_timeout(struct rabbit_link *link, amqp_connection_state_t connection,
                          int64_t timeout_us)
{
    struct timeval timeout = time_of(timeout_us ? timeout_us : link->config->connect_timeout_us);

    amqp_set_rpc_timeout(connection, &timeout);
}

/* ---- the socket ---- */

static amqp_socket_t *tls_socket(const struct rabbit_config *config,
                                 amqp_connection_state_t connection, struct failure *failure)
{
    amqp_socket_t *socket = amqp_ssl_socket_new(connection);

    if (!socket) {
        fail(failure, SLUICE_STATE_FAILED, "cannot make a TLS socket: no memory");
        return NULL;
    }
    amqp_ssl_socket_set_verify_peer(socket, config->verify);
    amqp_ssl_socket_set_verify_hostname(socket, config->verify);
    amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
    if (config->key_password)
        amqp_ssl_socket_set_key_passwd(socket, config->key_password);
    if (config->certificate_file &&
        amqp_ssl_socket_set_key(socket, config->certificate_file, config->key_file)) {
        fail(failure, SLUICE_STATE_UNREACHABLE,
             "TLS fails: %s and %s cannot be used: check that they are PEM files that belong "
             "together, that they may be read, and tls.key_password",
             config->certificate_file, config->key_file);
        return NULL;
    }
    if (config->verify &&
        amqp_ssl_socket_set_cacert(socket, config->ca_file ? config->ca_file : SYSTEM_CA)) {
        fail(failure, SLUICE_STATE_UNREACHABLE,
             "TLS fails: %s cannot be read as PEM certificates: %s",
             config->ca_file ? config->ca_file : SYSTEM_CA,
             config->ca_file ? "check source.rabbitmq.tls.ca_file"
                             : "install ca-certificates, or set source.rabbitmq.tls.ca_file");
        return NULL;
    }
    return socket;
}

static int open_socket(struct rabbit_link *link, amqp_connection_state_t connection,
                       const struct rabbit_host *host, struct failure *failure)
{
    const struct rabbit_config *config = link->config;
    amqp_socket_t *socket =
        config->tls ? tls_socket(config, connection, failure) : amqp_tcp_socket_new(connection);
    struct timeval timeout = time_of(config->connect_timeout_us);
    int status;

    if (!socket)
        return -1;
    status = amqp_socket_open_noblock(socket, host->name, host->port, &timeout);
    if (status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED)
        fail(failure, SLUICE_STATE_UNREACHABLE,
             "TLS fails: the certificate of %s:%d does not name it: use the name that it has there "
             "(addresses are not compared)",
             host->name, host->port);
    else if (status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED)
        fail(failure, SLUICE_STATE_UNREACHABLE,
             "TLS fails: the certificate of %s:%d is not trusted: check source.rabbitmq.tls.ca_file",
             host->name, host->port);
    else if (status == AMQP_STATUS_SSL_CONNECTION_FAILED || status == AMQP_STATUS_SSL_ERROR)
        fail(failure, SLUICE_STATE_UNREACHABLE,
             "TLS fails with %s:%d: check that this is its port for TLS (often 5671), and whether it "
             "asks for a certificate",
             host->name, host->port);
    else if (status)
        fail(failure, SLUICE_STATE_UNREACHABLE, "%s:%d cannot be reached: %s", host->name,
             host->port, amqp_error_string2(status));
    return status;
}

/* ---- login ---- */

static amqp_table_entry_t boolean(const char *name)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(name)};

    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = 1;
    return entry;
}

static amqp_table_entry_t string(const char *name, const char *value)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(name)};

    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes(value);
    return entry;
}

static amqp_rpc_reply_t log_in(struct rabbit_link *link, amqp_connection_state_t connection)
{
    const struct rabbit_config *config = link->config;
    amqp_table_entry_t able[] = {
        boolean("consumer_cancel_notify"), boolean("connection.blocked"), boolean("basic.nack"),
        boolean("publisher_confirms"), boolean("authentication_failure_close"),
        boolean("exchange_exchange_bindings"),
    };
    amqp_table_entry_t capabilities = {.key = amqp_cstring_bytes("capabilities")};
    amqp_table_entry_t entries[4];
    amqp_table_t properties = {4, entries};

    capabilities.value.kind = AMQP_FIELD_KIND_TABLE;
    capabilities.value.value.table = (amqp_table_t){sizeof able / sizeof able[0], able};
    entries[0] = capabilities;
    entries[1] = string("connection_name", link->name);
    entries[2] = string("product", "sluice");
    entries[3] = string("version", SLUICE_VERSION);
    if (config->external)
        return amqp_login_with_properties(connection, config->vhost, CHANNELS_MOST, FRAME_MOST,
                                          config->heartbeat_s, &properties,
                                          AMQP_SASL_METHOD_EXTERNAL, config->username);
    return amqp_login_with_properties(connection, config->vhost, CHANNELS_MOST, FRAME_MOST,
                                      config->heartbeat_s, &properties, AMQP_SASL_METHOD_PLAIN,
                                      config->username, config->password);
}

static void explain_login(struct rabbit_link *link, const struct rabbit_host *host,
                          const amqp_rpc_reply_t *reply, struct failure *failure)
{
    const struct rabbit_config *config = link->config;
    struct link_refusal refusal;

    link_read_refusal(reply, &refusal);
    if (refusal.code == AMQP_ACCESS_REFUSED)
        fail(failure, SLUICE_STATE_UNAUTHORISED,
             "%s:%d refuses the credentials%s%s: %s; check source.rabbitmq.username, password and "
             "mechanism",
             host->name, host->port, config->external ? "" : " of user ",
             config->external ? "" : config->username, refusal.text);
    else if (refusal.code == AMQP_NOT_ALLOWED && strstr(refusal.text, "refused"))
        fail(failure, SLUICE_STATE_UNAUTHORISED,
             "%s:%d refuses the virtual host %s to user %s: %s; give it permissions there",
             host->name, host->port, config->vhost, config->username, refusal.text);
    else if (refusal.code == AMQP_NOT_ALLOWED)
        fail(failure, SLUICE_STATE_MISSING,
             "%s:%d: %s; create the virtual host %s or correct source.rabbitmq.vhost", host->name,
             host->port, refusal.text, config->vhost);
    else if (reply->library_error == AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD)
        fail(failure, SLUICE_STATE_UNAUTHORISED,
             "%s:%d does not offer the mechanism %s: enable it there or correct "
             "source.rabbitmq.mechanism",
             host->name, host->port, config->external ? "EXTERNAL" : "PLAIN");
    else
        fail(failure, SLUICE_STATE_UNREACHABLE,
             "%s:%d does not let us in: %s; is this its AMQP port (with%s TLS)?", host->name,
             host->port, refusal.text, config->tls ? "" : "out");
}

static void copy_property(const amqp_table_t *properties, const char *name, char *text, size_t room)
{
    *text = '\0';
    for (int i = 0; i < properties->num_entries; i++) {
        const amqp_table_entry_t *entry = &properties->entries[i];

        if (entry->key.len == strlen(name) && !memcmp(entry->key.bytes, name, entry->key.len) &&
            entry->value.kind == AMQP_FIELD_KIND_UTF8)
            link_copy_text(entry->value.value.bytes, text, room);
    }
}

/* What a policy or the queue's own arguments say is told to nobody over AMQP. */
static void note_product(struct rabbit_link *link, amqp_connection_state_t connection)
{
    const amqp_table_t *properties = amqp_get_server_properties(connection);
    char product[24], version[16];

    copy_property(properties, "product", product, sizeof product);
    copy_property(properties, "version", version, sizeof version);
    snprintf(link->product, sizeof link->product, "%s%s%s", *product ? product : "the broker",
             *version ? " " : "", version);
    if (link->config->knows_limit)
        link->delivery_limit = link->config->delivery_limit;
    else if (!strcmp(product, "RabbitMQ") && strtol(version, NULL, 10) >= 4)
        link->delivery_limit = RABBIT_DEFAULT_LIMIT;
    else
        link->delivery_limit = RABBIT_NO_LIMIT;
}

/* librabbitmq writes without a time limit, and looks for heartbeats only when it reads: the kernel ends
 * what a broker that stands still does not take. */
static void limit_writing(amqp_connection_state_t connection)
{
    unsigned limit_ms = 2000u * (unsigned)amqp_get_heartbeat(connection);

    if (limit_ms)
        setsockopt(amqp_get_sockfd(connection), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms,
                   sizeof limit_ms);
}

static int connect_to(struct rabbit_link *link, const struct rabbit_host *host,
                      struct failure *failure)
{
    amqp_connection_state_t connection = amqp_new_connection();
    struct timeval timeout = time_of(link->config->connect_timeout_us);
    amqp_rpc_reply_t reply;

    if (!connection) {
        fail(failure, SLUICE_STATE_FAILED, "cannot make a connection: no memory");
        return -1;
    }
    amqp_set_handshake_timeout(connection, &timeout);
    link_set_rpc_timeout(link, connection, 0);
    if (!open_socket(link, connection, host, failure)) {
        reply = log_in(link, connection);
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
            limit_writing(connection);
            note_product(link, connection);
            link->connection = connection;
            return 0;
        }
        explain_login(link, host, &reply, failure);
    }
    amqp_destroy_connection(connection);
    return -1;
}

static void begin_session(struct rabbit_link *link)
{
    uint64_t number;

    if (getrandom(&number, sizeof number, 0) != sizeof number)
        number = (uint64_t)rabbit_now() ^ (uint64_t)getpid() << 40;
    snprintf(link->session, sizeof link->session, "%016" PRIx64, number);
    link->next_number = 1;
    link->depth_us = 0;
    link->look = (struct rabbit_look){.due_us = rabbit_now() + LOOK_FIRST_US};
    link->connected_us = rabbit_now();
    for (size_t i = 0; i < link->config->queue_count; i++)
        if (!link->channels[i].tries)
            link->channels[i].retry_us = 0;
}

int link_connect(struct rabbit_link *link)
{
    const struct rabbit_config *config = link->config;
    struct failure failure = {SLUICE_STATE_FAILED, ""};
    const struct rabbit_host *host = NULL;

    for (size_t i = 0; i < config->host_count && !atomic_load(&link->stop); i++) {
        host = &config->hosts[link->host];
        link->host = (link->host + 1) % config->host_count;
        if (connect_to(link, host, &failure))
            continue;
        link_log(link, SLUICE_LOG_INFO, "connected", "connected to %s:%d", host->name, host->port);
        begin_session(link);
        return 0;
    }
    link->retry_us = rabbit_now() + rabbit_backoff(link->tries++, RABBIT_RETRY_FIRST_US,
                                                   RABBIT_RETRY_MOST_US);
    if (host)
        link_state(link, failure.state, "%s%s%s", failure.text,
                   config->host_count > 1 ? "; nor does any other of " : "; it is tried again",
                   config->host_count > 1 ? config->servers : "");
    return -1;
}

void link_disconnect(struct rabbit_link *link, bool polite)
{
    if (!link->connection)
        return;
    for (size_t i = 0; i < link->config->queue_count; i++)
        channel_end(link, &link->channels[i], false);
    if (polite) {
        link_set_rpc_timeout(link, link->connection, CLOSE_US);
        amqp_connection_close(link->connection, AMQP_REPLY_SUCCESS);
    }
    amqp_destroy_connection(link->connection);
    link->connection = NULL;
}

void link_failed(struct rabbit_link *link, const char *why)
{
    if (!link->connection)
        return;
    link_disconnect(link, false);
    if (rabbit_now() - link->connected_us > GOOD_US)
        link->tries = 0;
    link->retry_us = rabbit_now() + rabbit_backoff(link->tries++, RABBIT_RETRY_FIRST_US / 5,
                                                   RABBIT_RETRY_MOST_US);
    link_state(link, SLUICE_STATE_UNREACHABLE,
               "the connection to %s is lost: %s; it is tried again", link->config->servers, why);
}
