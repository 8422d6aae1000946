/* SPDX-License-Identifier: MIT
 * What the floors of all sources share. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <curl/curl.h>

static inline void die(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why);
    exit(1);
}

static inline int64_t now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* ---- what was done, and at what cost ---- */

struct floor_counts {
    int64_t messages, requests, failed;
    int64_t begun_us, begun_cpu_us; /* at the first message; 0: there was none */
};

static inline int64_t floor_cpu_us(struct rusage *usage)
{
    getrusage(RUSAGE_SELF, usage);
    return (int64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
           usage->ru_utime.tv_usec + usage->ru_stime.tv_usec;
}

/* Time and CPU (of all threads) count from the first call on. */
static inline void floor_begin(struct floor_counts *counts)
{
    struct rusage usage;

    if (counts->begun_us)
        return;
    counts->begun_us = now_us();
    counts->begun_cpu_us = floor_cpu_us(&usage);
}

/* Not what getrusage says, which begins with the program that started this one. */
static inline long floor_peak_kib(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[200];
    long kib = 0;

    while (status && fgets(line, sizeof line, status))
        sscanf(line, "VmHWM: %ld", &kib);
    if (status)
        fclose(status);
    return kib;
}

static inline void floor_report(const struct floor_counts *counts)
{
    struct rusage usage;
    int64_t cpu = floor_cpu_us(&usage) - counts->begun_cpu_us;
    int64_t spent = now_us() - counts->begun_us;
    double messages = (double)counts->messages;

    printf("{\"messages\":%lld,\"seconds\":%.3f,\"messages_per_second\":%.0f,"
           "\"cpu_us_per_message\":%.3f,\"peak_rss_kib\":%ld,\"requests\":%lld,\"failed\":%lld}\n",
           (long long)counts->messages, (double)spent / 1e6, messages * 1e6 / (double)spent,
           (double)cpu / messages, floor_peak_kib(), (long long)counts->requests,
           (long long)counts->failed);
}

/* ---- the event ---- */

static char pairs[4096][2];

static inline void make_pairs(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (int i = 0; i < 4096; i++) {
        pairs[i][0] = digits[i >> 6];
        pairs[i][1] = digits[i & 63];
    }
}

static inline char *put(char *out, const char *text, size_t size)
{
    memcpy(out, text, size);
    return out + size;
}

#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

static inline char *put_number(char *out, int64_t number)
{
    char digits[20], *at = digits + sizeof digits;

    if (number < 0) {
        *out++ = '-';
        number = -number;
    }
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    return put(out, at, (size_t)(digits + sizeof digits - at));
}

static inline char *put_base64(char *out, const unsigned char *in, size_t size)
{
    for (; size >= 3; size -= 3, in += 3) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

        memcpy(out, pairs[bits >> 12], 2);
        memcpy(out + 2, pairs[bits & 4095], 2);
        out += 4;
    }
    if (size) {
        uint32_t bits = (uint32_t)in[0] << 16 | (size > 1 ? (uint32_t)in[1] << 8 : 0);

        memcpy(out, pairs[bits >> 12], 2);
        out[2] = pairs[bits & 4095][0];
        out[3] = '=';
        if (size == 1)
            out[2] = '=';
        out += 4;
    }
    return out;
}

/* ---- requests ---- */

static inline size_t floor_drop(char *data, size_t size, size_t count, void *argument)
{
    (void)data;
    (void)argument;
    return size * count;
}

static inline CURLM *floor_multi(int in_flight)
{
    CURLM *multi = curl_multi_init();

    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)in_flight);
    return multi;
}

/* A POST of JSON to `url` that can be sent again and again. */
static inline CURL *floor_request(const char *url, void *cookie)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *easy = curl_easy_init();

    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, floor_drop);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, cookie);
    return easy;
}

static inline void floor_send(CURLM *multi, CURL *easy, const char *body, size_t size,
                              struct floor_counts *counts)
{
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    curl_multi_add_handle(multi, easy);
    counts->requests++;
}

/* The next request that ended, as its cookie; NULL: none. */
static inline void *floor_answer(CURLM *multi, struct floor_counts *counts)
{
    CURLMsg *message;
    void *cookie;
    long status = 0;
    int left;

    do
        message = curl_multi_info_read(multi, &left);
    while (message && message->msg != CURLMSG_DONE);
    if (!message)
        return NULL;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &cookie);
    curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
    counts->failed += message->data.result || status < 200 || status > 299;
    curl_multi_remove_handle(multi, message->easy_handle);
    return cookie;
}

#endif
