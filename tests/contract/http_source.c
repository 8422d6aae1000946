/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "http_source.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

struct source {
    FILE *in, *out; /* to the script that is the server */
    pid_t script;
    int port;
};

/* Asks the script and returns its answer. */
static json_t *ask(struct source *source, json_t *question)
{
    char *text = json_dumps(question, JSON_COMPACT);
    json_t *answer;

    json_decref(question);
    fprintf(source->out, "%s\n", text);
    fflush(source->out);
    free(text);
    answer = json_loadf(source->in, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, NULL);
    if (!answer)
        fail_msg("the server's script gave no answer");
    return answer;
}

static json_int_t ask_number(struct source *source, const char *what)
{
    json_t *answer = ask(source, json_pack("{ss}", "do", what));
    json_int_t number = json_integer_value(answer);

    json_decref(answer);
    return number;
}

static struct source *start(void)
{
    struct source *source = calloc(1, sizeof *source);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    source->script = fork();
    assert_true(source->script >= 0);
    if (!source->script) {
        dup2(pair[1], STDIN_FILENO);
        dup2(pair[1], STDOUT_FILENO);
        execl(TEST_CONTRACT "/http_server", "http_server", (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    source->in = fdopen(pair[0], "r");
    source->out = fdopen(dup(pair[0]), "w");
    source->port = (int)ask_number(source, "port");
    return source;
}

static void stop(struct source *source)
{
    json_t *complaints = ask(source, json_pack("{ss}", "do", "complaints"));

    if (json_array_size(complaints))
        fail_msg("the server complains: %s", json_dumps(complaints, 0));
    json_decref(complaints);
    fclose(source->out);
    fclose(source->in);
    kill(source->script, SIGTERM);
    waitpid(source->script, NULL, 0);
    free(source);
}

static void options(struct source *source, struct sluice_host *host)
{
    char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%d", source->port);
    host_option(host, "dialect", "pubsub");
    host_option(host, "url", url);
    host_option(host, "pubsub.project", "tests-4711");
    host_option(host, "pubsub.subscription", "orders");
    host_option(host, "pubsub.topic", "orders"); /* what an instance that only publishes needs */
    host_option(host, "pubsub.authentication", "none");
    host_option(host, "lease", "10s");
    host_option(host, "poll.least", "20ms");
    host_option(host, "poll.most", "200ms");
}

static json_t *hex(struct sluice_bytes bytes)
{
    char *text = malloc(2 * bytes.size + 1);
    json_t *json;

    text[0] = '\0';
    for (size_t i = 0; i < bytes.size; i++)
        snprintf(text + 2 * i, 3, "%02x", ((const unsigned char *)bytes.data)[i]);
    json = json_string(text);
    free(text);
    return json;
}

static struct sluice_bytes bytes_of(const json_t *hex)
{
    size_t size = json_string_length(hex) / 2;
    char *data = malloc(size + 1);

    for (size_t i = 0; i < size; i++) {
        const char pair[] = {json_string_value(hex)[2 * i], json_string_value(hex)[2 * i + 1], '\0'};

        data[i] = (char)strtoul(pair, NULL, 16);
    }
    data[size] = '\0';
    return (struct sluice_bytes){data, size};
}

static void produce(struct source *source, unsigned lane, const struct record *records, size_t count)
{
    json_t *all = json_array();

    assert_int_equal(lane, 0);
    for (size_t i = 0; i < count; i++) {
        json_t *headers = json_object();

        for (size_t j = 0; j < records[i].header_count; j++)
            json_object_setn_new(headers, records[i].headers[j].name.data, records[i].headers[j].name.size,
                                 json_stringn(records[i].headers[j].value.data,
                                              records[i].headers[j].value.size));
        json_array_append_new(all, json_pack("{so so}", "payload", hex(records[i].payload), "headers",
                                             headers));
    }
    json_decref(ask(source, json_pack("{ss so}", "do", "produce", "records", all)));
}

static size_t unsettled(struct source *source)
{
    return (size_t)ask_number(source, "unsettled");
}

static bool read_one(struct source *source, const char *destination, struct record *ret_record)
{
    json_t *found = ask(source, json_pack("{ss ss}", "do", "read", "topic", destination));
    json_t *headers = json_object_get(found, "headers"), *value;
    const char *name;
    size_t count = 0;

    if (!json_is_object(found)) {
        json_decref(found);
        return false;
    }
    *ret_record = (struct record){.payload = bytes_of(json_object_get(found, "payload"))};
    ret_record->headers = calloc(json_object_size(headers) + 1, sizeof *ret_record->headers);
    json_object_foreach(headers, name, value)
    {
        ret_record->headers[count++] = (struct sluice_header){
            {strdup(name), strlen(name)}, {strdup(json_string_value(value)), json_string_length(value)}};
    }
    ret_record->header_count = count;
    json_decref(found);
    return true;
}

static void down(struct source *source)
{
    ask_number(source, "down");
}

static void up(struct source *source)
{
    ask_number(source, "up");
}

const struct source_kind http_kind = {
    .connector = "http",
    .lanes = 1,
    .keyless = true,
    .silent = true,
    .no_empty = true,
    .headers_are_text = true,
    .start = start,
    .stop = stop,
    .options = options,
    .produce = produce,
    .unsettled = unsettled,
    .read = read_one,
    .destination = "orders-dead",
    .no_destination = "not-there",
    .down = down,
    .up = up,
};
