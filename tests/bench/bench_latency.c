/* SPDX-License-Identifier: MIT
 * Measures the time from a message's production to its arrival at the function, and is both ends:
 *
 *   bench_latency BROKERS TOPIC PER_SECOND COUNT
 *
 * Prints the port of the function, waits until a poller brings messages to it, and then produces
 * COUNT messages evenly. Prints the percentiles in microseconds as JSON when all have come. The first
 * second is not counted. */
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"

#define PROBE_EVERY_US 100000
#define GIVE_UP_US     (60 * INT64_C(1000000))
#define HEAD           40 /* characters of the value, which hold its number and time */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static int64_t *latency_us; /* by number, 0: has not come; repetitions are not counted */
static long count, counted, probes;

static int64_t now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void sleep_until(int64_t at_us)
{
    struct timespec at = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL))
        ;
}

/* ---- the function ---- */

struct request {
    char body[4096]; /* its beginning */
    size_t size;
};

static void note(const char *body, int64_t came_us)
{
    const char *value = strstr(body, "\"value\":\"");
    char text[HEAD + 1] = "";
    long number;
    long long sent_us;

    if (!value || strlen(value + 9) < HEAD || base64_read(text, value + 9, HEAD) == SIZE_MAX ||
        sscanf(text, "{\"n\":%ld,\"t\":%lld", &number, &sent_us) != 2)
        return;
    pthread_mutex_lock(&lock);
    if (number < 0) {
        probes++;
    } else if (number < count && !latency_us[number]) {
        latency_us[number] = came_us - sent_us;
        counted++;
    }
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&lock);
}

static enum MHD_Result answer(void *argument, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    struct request *request = *state;
    struct MHD_Response *response;
    enum MHD_Result result;

    (void)argument, (void)url, (void)method, (void)version;
    if (!request) {
        *state = calloc(1, sizeof *request);
        return MHD_YES;
    }
    if (*size) {
        size_t room = sizeof request->body - 1 - request->size;

        memcpy(request->body + request->size, data, *size < room ? *size : room);
        request->size += *size < room ? *size : room;
        *size = 0;
        return MHD_YES;
    }
    note(request->body, now_us());
    free(request);
    *state = NULL;
    response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    result = MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Daemon *serve(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, NULL,
                         MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_END);

    if (!daemon) {
        fputs("bench_latency: cannot serve HTTP on 127.0.0.1\n", stderr);
        exit(1);
    }
    printf("%u\n", (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    return daemon;
}

/* ---- the producer ---- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];

    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "bench_latency: %s\n", error);
        exit(1);
    }
}

static void produce(rd_kafka_t *producer, const char *topic, long number)
{
    char value[1024];
    int head = snprintf(value, sizeof value, "{\"n\":%ld,\"t\":%lld,\"note\":\"", number,
                        (long long)now_us());

    memset(value + head, 'x', sizeof value - (size_t)head);
    memcpy(value + sizeof value - 2, "\"}", 2);
    rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
                      RD_KAFKA_V_PARTITION((int32_t)(number < 0 ? 0 : number % 4)),
                      RD_KAFKA_V_VALUE(value, sizeof value),
                      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    rd_kafka_poll(producer, 0);
}

/* Whether all that was produced came in time. */
static bool wait_for(const long *what, long wanted)
{
    struct timespec until;
    bool come;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GIVE_UP_US / 1000000;
    pthread_mutex_lock(&lock);
    while (*what < wanted && !pthread_cond_timedwait(&arrived, &lock, &until))
        ;
    come = *what >= wanted;
    pthread_mutex_unlock(&lock);
    return come;
}

/* The poller has joined its group when it brings something. */
static bool wait_for_poller(rd_kafka_t *producer, const char *topic)
{
    int64_t begun_us = now_us();
    long sent = 0, come = 0;

    while (!come && now_us() - begun_us < GIVE_UP_US) {
        produce(producer, topic, -1);
        sent++;
        sleep_until(now_us() + PROBE_EVERY_US);
        pthread_mutex_lock(&lock);
        come = probes;
        pthread_mutex_unlock(&lock);
    }
    return wait_for(&probes, sent);
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

static void report(long first)
{
    int64_t *sorted = latency_us + first;
    long size = count - first;

    qsort(sorted, (size_t)size, sizeof *sorted, compare);
    printf("{\"messages\":%ld,\"p50_us\":%lld,\"p99_us\":%lld,\"max_us\":%lld}\n", size,
           (long long)sorted[size / 2], (long long)sorted[size * 99 / 100],
           (long long)sorted[size - 1]);
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *producer;
    struct MHD_Daemon *daemon;
    long per_second = argc == 5 ? atol(argv[3]) : 0;
    int64_t begun_us;

    count = argc == 5 ? atol(argv[4]) : 0;
    if (per_second < 1 || count <= per_second) {
        fputs("bench_latency BROKERS TOPIC PER_SECOND COUNT (more than PER_SECOND)\n", stderr);
        return 64;
    }
    latency_us = calloc((size_t)count, sizeof *latency_us);
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "linger.ms", "0");
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    daemon = serve();
    if (!wait_for_poller(producer, argv[2])) {
        fputs("bench_latency: nothing came\n", stderr);
        return 1;
    }
    begun_us = now_us();
    for (long number = 0; number < count; number++) {
        sleep_until(begun_us + number * 1000000 / per_second);
        produce(producer, argv[2], number);
    }
    if (!wait_for(&counted, count)) {
        fprintf(stderr, "bench_latency: only %ld of %ld came\n", counted, count);
        return 1;
    }
    report(per_second);
    MHD_stop_daemon(daemon);
    rd_kafka_destroy(producer);
    free(latency_us);
    return 0;
}
