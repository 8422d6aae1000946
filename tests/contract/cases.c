/* SPDX-License-Identifier: MIT */
#include "cases.h"

#include <poll.h>
#include <unistd.h>

#define DEADLINE_US (5 * HOST_SECOND)

const struct source_kind *the_kind;

struct sluice_host *case_host(struct source *source)
{
    struct sluice_host *host = host_new(host_load(the_kind->connector));

    the_kind->options(source, host);
    host->keep = true;
    return host;
}

static struct sluice_bytes text(const char *text)
{
    return (struct sluice_bytes){text, strlen(text)};
}

void case_produce(struct source *source, unsigned lane, const char *prefix, unsigned count)
{
    for (unsigned begin = 0; begin < count; begin += 100) {
        unsigned some = count - begin < 100 ? count - begin : 100;
        char names[100][32];
        struct record records[100];

        for (unsigned i = 0; i < some; i++) {
            snprintf(names[i], sizeof names[i], "%s-%u", prefix, begin + i);
            records[i] = (struct record){.payload = text(names[i])};
            if (!the_kind->keyless)
                records[i].key = text(names[i]);
        }
        the_kind->produce(source, lane, records, some);
    }
}

size_t case_seen(const struct sluice_host *host, const char *payload)
{
    size_t count = 0;

    for (size_t i = 0; i < host->message_count; i++) {
        struct sluice_bytes found = host->messages[i].record.payload;

        count += found.data && found.size == strlen(payload) &&
                 !memcmp(found.data, payload, found.size);
    }
    return count;
}

static void each_seen(const struct sluice_host *host, const char *prefix, unsigned begin,
                      unsigned end, size_t times)
{
    for (unsigned i = begin; i < end; i++) {
        char name[32];

        snprintf(name, sizeof name, "%s-%u", prefix, i);
        if (case_seen(host, name) != times)
            fail_msg("%s arrived %zu times, expected %zu", name, case_seen(host, name), times);
    }
}

struct unsettled {
    struct source *source;
    size_t count;
};

static bool is_unsettled(void *argument)
{
    struct unsettled *unsettled = argument;

    return the_kind->unsettled(unsettled->source) == unsettled->count;
}

void cases_wait_unsettled(struct source *source, struct sluice_host **hosts, size_t host_count,
                          size_t count)
{
    struct unsettled unsettled = {source, count};

    hosts_until(hosts, host_count, is_unsettled, &unsettled, 10 * HOST_SECOND,
                "settlement at the server");
}

void case_wait_unsettled(struct source *source, struct sluice_host *host, size_t count)
{
    cases_wait_unsettled(source, &host, 1, count);
}

static void finish(struct source *source, struct sluice_host *host)
{
    host_free(host);
    the_kind->stop(source);
}

/* Leaves out what the source cannot carry, which is not the connector's to change. What has no keys has no
 * tombstones either. */
static void fit(const struct sluice_host *host, struct record *records, size_t count)
{
    bool keyless = the_kind->keyless || !(host_can(host) & SLUICE_HAS_KEY);

    for (size_t i = 0; i < count; i++) {
        if (keyless) {
            records[i].key = (struct sluice_bytes){NULL, 0};
            if (!records[i].payload.data)
                records[i].payload = (struct sluice_bytes){"", 0};
        }
        if (the_kind->no_empty && records[i].payload.data && !records[i].payload.size)
            records[i].payload = text("not empty");
    }
}

static bool is_named(const struct sluice_header *header, const char *name)
{
    return header->name.size == strlen(name) && !memcmp(header->name.data, name, header->name.size);
}

static bool is_own_header(const struct sluice_header *header)
{
    for (const char *const *name = the_kind->own_headers; name && *name; name++)
        if (is_named(header, *name))
            return true;
    return false;
}

/* Takes the server's own headers, and their types, out of a message that arrived. */
static void forget_own_headers(struct record *record)
{
    size_t count = 0;
    bool own = false;

    for (size_t i = 0; i < record->header_count; i++) {
        struct sluice_header *header = &record->headers[i];

        own = is_own_header(header) || (own && is_named(header, "amqp:fieldType"));
        if (!own) {
            record->headers[count++] = *header;
            continue;
        }
        free((void *)(uintptr_t)header->name.data);
        free((void *)(uintptr_t)header->value.data);
    }
    record->header_count = count;
}

static void print_headers(const struct record *record)
{
    for (size_t i = 0; i < record->header_count; i++)
        print_message("header %.*s: %zu bytes %.*s\n", (int)record->headers[i].name.size,
                      (const char *)record->headers[i].name.data, record->headers[i].value.size,
                      (int)record->headers[i].value.size,
                      (const char *)record->headers[i].value.data);
}

/* ---- receiving ---- */

static void test_bytes_arrive_unchanged(void **state)
{
    static char large[1 << 20];
    static const char every[] = "\0\1\2\r\n\"\\\x7f\x80\xff\xfe {}";
    struct sluice_header headers[] = {
        {text("a"), text("1")}, {text("a"), text("2")}, {text("b"), {every, sizeof every}},
        {text("empty"), {"", 0}}};
    struct record records[] = {
        {.key = text("k"), .payload = text("plain")},
        {.key = {"", 0}, .payload = {"", 0}},
        {.key = {NULL, 0}, .payload = text("no key")},
        {.key = text("tombstone"), .payload = {NULL, 0}},
        {.key = {NULL, 0}, .payload = {NULL, 0}},
        {.key = {every, sizeof every}, .payload = {every, sizeof every}},
        {.key = text("large"), .payload = {large, sizeof large}},
        {.key = text("headers"), .payload = text("h"), .headers = headers, .header_count = 4},
    };
    size_t count = sizeof records / sizeof records[0];
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 2654435761u >> 24);
    fit(host, records, count);
    if (the_kind->headers_are_text)
        headers[2].value = text("grün");
    if (!the_kind->headers_repeat)
        headers[1].name = text("another");
    the_kind->produce(source, 0, records, count);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, count);
    for (size_t i = 0; i < count; i++) {
        forget_own_headers(&host->messages[i].record);
        if (!record_same(&host->messages[i].record, &records[i])) {
            print_headers(&host->messages[i].record);
            fail_msg("message %zu arrived otherwise than it was sent", i);
        }
    }
    finish(source, host);
}

static void test_all_arrive_once_and_in_order(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    for (unsigned lane = 0; lane < the_kind->lanes; lane++) {
        char prefix[16];

        snprintf(prefix, sizeof prefix, "l%u", lane);
        case_produce(source, lane, prefix, 500);
    }
    host->room = (struct sluice_room){37, 100};
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 500 * the_kind->lanes);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    assert_int_equal(host->message_count, 500 * the_kind->lanes);
    each_seen(host, "l0", 0, 500, 1);
    assert_int_equal(host->state, SLUICE_STATE_RUNNING);
    finish(source, host);
}

static size_t memory_kb(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long all = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &all, &resident), 2);
    fclose(file);
    return (size_t)(resident * (sysconf(_SC_PAGESIZE) / 1024));
}

/* Longer than the session's timeout (6 s) with nothing but empty room. */
static void test_no_room_keeps_the_session_and_the_memory(void **state)
{
    static char body[20000];
    struct record records[100];
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    size_t lanes, before_kb;
    bool sanitized = getenv("SLUICE_TEST_PATIENCE") != NULL;

    memset(body, 'x', sizeof body);
    case_produce(source, 0, "first", 1);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 1);
    host_wait_state(host, SLUICE_STATE_RUNNING); /* all lanes are open */
    host->room = (struct sluice_room){0, 0};
    lanes = host->lane_count;
    before_kb = memory_kb();
    for (size_t i = 0; i < 100; i++)
        records[i] = (struct record){.payload = {body, sizeof body}};
    for (int i = 0; i < 20; i++) /* 40 MB, of which the server holds up to half in this process */
        the_kind->produce(source, (unsigned)i % the_kind->lanes, records, 100);
    hosts_stay(&host, 1, NULL, NULL, 8 * HOST_SECOND, "");
    assert_int_equal(host->message_count, 1);
    assert_int_equal(host->lane_count, lanes);
    assert_int_equal(host_open_lanes(host), lanes);
    if (!sanitized)
        assert_in_range(memory_kb() - before_kb, 0, 60000);
    host->room = (struct sluice_room){HOST_FOREVER, HOST_FOREVER};
    host_wait_messages(host, 1001);
    assert_int_equal(host->lane_count, lanes);
    finish(source, host);
}

static void test_a_paused_lane_waits_and_loses_nothing(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    const struct host_lane *lane;
    size_t seen;

    if (!(host_can(host) & SLUICE_CAN_PAUSE_LANE)) {
        finish(source, host);
        return;
    }
    case_produce(source, 0, "a", 10);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 10);
    lane = &host->lanes[host->messages[0].lane];
    host->connector->pause_lane(host->instance, lane->cookie, true);
    host->connector->pause_lane(host->instance, lane->cookie, true);
    hosts_stay(&host, 1, NULL, NULL, HOST_SECOND / 2, "");
    seen = host->message_count; /* what was already fetched may come */
    case_produce(source, 0, "b", 100);
    if (the_kind->lanes > 1)
        case_produce(source, 1, "other", 100);
    host_wait_messages(host, seen + (the_kind->lanes > 1 ? 100 : 0));
    each_seen(host, "b", 0, 100, 0);
    lane = &host->lanes[host->messages[0].lane];
    host->connector->pause_lane(host->instance, lane->cookie, false);
    host_wait_messages(host, seen + 100 + (the_kind->lanes > 1 ? 100 : 0));
    each_seen(host, "b", 0, 100, 1);
    finish(source, host);
}

/* ---- settling ---- */

static void test_unsettled_comes_again_and_settled_does_not(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source), *next = case_host(source);

    case_produce(source, 0, "m", 10);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 10);
    if (host_can(host) & SLUICE_CAN_SETTLE_UP_TO)
        assert_int_equal(host_settle(host, 3), 0);
    else
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(host_settle(host, i), 0);
    case_wait_unsettled(source, host, 6);
    host_stop(host, DEADLINE_US);
    assert_int_equal(the_kind->unsettled(source), 6);
    host_free(host);

    host_run(next, "sluice-contract-0@here");
    host_wait_messages(next, 6);
    each_seen(next, "m", 0, 4, 0);
    each_seen(next, "m", 4, 10, 1);
    host_settle_all(next);
    case_wait_unsettled(source, next, 0);
    finish(source, next);
}

static bool told_all(void *argument)
{
    struct sluice_host *host = argument;

    for (size_t i = 0; i < host->lane_count; i++)
        if (host->lanes[i].any && host->lanes[i].told != host->lanes[i].newest + 1)
            return false;
    return true;
}

static void test_settled_is_told_when_it_is_durable(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    if (host_can(host) & SLUICE_CAN_SETTLE_UP_TO && !(host_can(host) & SLUICE_NEEDS_POSITION)) {
        case_produce(source, 0, "m", 10);
        host_run(host, "sluice-contract-0@here");
        host_wait_messages(host, 10);
        hosts_stay(&host, 1, told_all, host, HOST_SECOND / 2, "told before it was settled");
        host_settle_all(host);
        hosts_until(&host, 1, told_all, host, 5 * HOST_SECOND, "settled to be told");
        assert_int_equal(the_kind->unsettled(source), 0);
    }
    finish(source, host);
}

static void test_stop_settles_what_was_told(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    case_produce(source, 0, "m", 100);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 100);
    host_settle_all(host);
    host_stop(host, DEADLINE_US);
    assert_int_equal(host_open_lanes(host), 0);
    cases_wait_unsettled(source, &host, 0, 0); /* nobody turns the host any more */
    finish(source, host);
}

/* What is done behind a gap is acknowledged alone, in any order; the gap alone comes again. */
static void test_settled_in_any_order(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source), *next = case_host(source);

    if (host_can(host) & SLUICE_CAN_SETTLE_UP_TO) {
        host_free(next);
        finish(source, host);
        return;
    }
    case_produce(source, 0, "m", 20);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 20);
    for (size_t i = 20; i-- > 0;)
        if (i != 3 && i != 11)
            assert_int_equal(host_settle(host, i), 0);
    case_wait_unsettled(source, host, 2);
    host_free(host);
    host_run(next, "sluice-contract-0@here");
    host_wait_messages(next, 2);
    assert_int_equal(case_seen(next, "m-3"), 1);
    assert_int_equal(case_seen(next, "m-11"), 1);
    host_settle_all(next);
    case_wait_unsettled(source, next, 0);
    finish(source, next);
}

/* ---- a life that goes wrong ---- */

static void test_close_in_any_state(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *opened = case_host(source), *started = case_host(source);
    struct sluice_host *holding = case_host(source);

    assert_int_equal(host_open(opened), 0);
    host_free(opened);
    host_run(started, "sluice-contract-0@here");
    host_free(started);
    case_produce(source, 0, "m", 100);
    host_run(holding, "sluice-contract-0@here");
    host_wait_messages(holding, 100);
    finish(source, holding); /* with all messages held: lost, then released */
}

static void test_a_server_that_goes_and_comes_back(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    case_produce(source, 0, "m", 100);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 100);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    the_kind->down(source);
    host_wait_state(host, SLUICE_STATE_UNREACHABLE);
    the_kind->up(source);
    case_produce(source, 0, "n", 100);
    host_wait_messages(host, 200);
    each_seen(host, "n", 0, 100, 1);
    host_wait_state(host, SLUICE_STATE_RUNNING);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    finish(source, host);
}

static void test_a_server_that_is_not_there_at_the_start(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    case_produce(source, 0, "m", 10);
    the_kind->down(source);
    host_run(host, "sluice-contract-0@here");
    host_wait_state(host, SLUICE_STATE_UNREACHABLE);
    the_kind->up(source);
    host_wait_messages(host, 10);
    host_wait_state(host, SLUICE_STATE_RUNNING);
    finish(source, host);
}

static void test_stop_and_close_are_bounded_without_a_server(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source), *never = case_host(source);
    int64_t begin_us;

    case_produce(source, 0, "m", 10);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 10);
    the_kind->down(source);
    host_settle_all(host);
    begin_us = host_now();
    host_stop(host, 2 * HOST_SECOND);
    host_free(host);
    host_run(never, "sluice-contract-0@here");
    host_stop(never, 2 * HOST_SECOND);
    host_free(never);
    assert_in_range(host_now() - begin_us, 0, host_patience(8 * HOST_SECOND));
    the_kind->up(source);
    the_kind->stop(source);
}

/* ---- publishing ---- */

struct letters {
    struct sluice_host *host;
    unsigned count;
};

static bool answered(void *argument)
{
    struct letters *letters = argument;

    return letters->host->published + letters->host->unpublished >= letters->count;
}

static void publish(struct sluice_host *host, const char *destination, const struct record *record)
{
    struct sluice_publication publication = {
        .destination = destination,
        .key = record->key,
        .payload = record->payload,
        .headers = record->headers,
        .header_count = record->header_count,
        .cookie = host,
    };

    int64_t until_us = host_now() + host_patience(10 * HOST_SECOND);

    while (host->connector->publish(host->instance, &publication)) {
        if (host_now() >= until_us)
            fail_msg("the publication is not taken");
        hosts_turn(&host, 1, 20000);
    }
}

bool case_publish(struct sluice_host *host, const char *destination, const struct record *record)
{
    unsigned confirmed = host->published, never = host->unpublishable;

    /* As the service does: a busy broker may not let a publisher in at its first try. */
    for (int tries = 0; tries < 3 && host->published == confirmed && host->unpublishable == never; tries++) {
        struct letters letters = {host, host->published + host->unpublished + 1};

        publish(host, destination, record);
        hosts_until(&host, 1, answered, &letters, 40 * HOST_SECOND, "the answer to a publication");
    }
    return host->published > confirmed;
}

static void test_published_is_confirmed_and_unchanged(void **state)
{
    static const char binary[] = "\0\xff\n";
    struct sluice_header headers[] = {{text("a"), text("1")}, {text("a"), {binary, 3}}};
    struct record sent[] = {
        {.key = text("k"), .payload = text("v"), .headers = headers, .header_count = 2},
        {.key = {NULL, 0}, .payload = {binary, 3}},
        {.key = {"", 0}, .payload = {"", 0}},
        {.key = text("tombstone"), .payload = {NULL, 0}},
    };
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct letters letters = {host, 4};
    bool arrived[4] = {false};
    size_t found;

    if (!the_kind->headers_repeat)
        headers[1].name = text("b");
    if (the_kind->headers_are_text)
        headers[1].value = text("grün");
    if (!(host_can(host) & SLUICE_CAN_PUBLISH)) {
        assert_null(host->connector->publish);
        finish(source, host);
        return;
    }
    host_run(host, "sluice-contract-0@here");
    for (size_t i = 0; i < 4; i++) {
        fit(host, &sent[i], 1);
        publish(host, the_kind->destination, &sent[i]);
    }
    assert_int_equal(host->published, 0);
    hosts_until(&host, 1, answered, &letters, 10 * HOST_SECOND, "confirmations");
    assert_int_equal(host->published, 4);
    for (size_t i = 0; i < 4; i++) {
        struct record read;

        assert_true(the_kind->read(source, the_kind->destination, &read));
        /* In any order: several may be under way. */
        for (found = 0; found < 4 && (arrived[found] || !record_same(&read, &sent[found])); found++) {}
        if (found == 4)
            fail_msg("what arrived as number %zu is none of those sent", i);
        arrived[found] = true;
        record_free(&read);
    }
    finish(source, host);
}

static void test_a_publication_that_cannot_be_is_told(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct record record = {.key = text("k"), .payload = text("v")};

    if (host_can(host) & SLUICE_CAN_PUBLISH) {
        host_run(host, "sluice-contract-0@here");
        if (the_kind->refuse)
            the_kind->refuse(source);
        assert_false(case_publish(host, the_kind->no_destination, &record));
        if (!strstr(host->publish_error, the_kind->no_destination))
            fail_msg("found \"%s\", expected the destination in it", host->publish_error);
    }
    finish(source, host);
}

/* Each publication is answered once, at the latest when the instance is closed. */
static void test_publications_under_way_at_the_end_are_answered(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct record record = {.key = text("k"), .payload = text("v")};

    if (host_can(host) & SLUICE_CAN_PUBLISH) {
        host_run(host, "sluice-contract-0@here");
        for (int i = 0; i < 10; i++)
            publish(host, the_kind->destination, &record);
        host_stop(host, DEADLINE_US);
        assert_int_equal(host->published, 10);
        assert_int_equal(host->unpublished, 0);
    }
    finish(source, host);
}

/* It joins nothing and takes nothing. */
static void test_an_instance_that_only_publishes(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct record record = {.payload = text("v")}, read;

    if (!host->connector->open_publisher) {
        finish(source, host);
        return;
    }
    case_produce(source, 0, "m", 5);
    host->publishes = true;
    host_run(host, "sluice-contract-letters@here");
    assert_true(case_publish(host, the_kind->destination, &record));
    assert_true(the_kind->read(source, the_kind->destination, &read));
    assert_true(record_same(&read, &record));
    record_free(&read);
    host_wait_state(host, SLUICE_STATE_RUNNING);
    the_kind->down(source);
    if (the_kind->silent)
        assert_false(case_publish(host, the_kind->destination, &record));
    host_wait_state(host, SLUICE_STATE_UNREACHABLE);
    the_kind->up(source);
    assert_true(case_publish(host, the_kind->destination, &record));
    host_wait_state(host, SLUICE_STATE_RUNNING);
    assert_int_equal(host->lane_count, 0);
    host_stop(host, DEADLINE_US);
    assert_int_equal(the_kind->unsettled(source), 5);
    finish(source, host);
}

/* ---- browsing ---- */

struct browsed {
    unsigned count, failed;
    unsigned first, last; /* numbers of messages */
    uint64_t position;
    bool in_order;
    unsigned most; /* ends after so many; 0: never */
};

static int see_browsed(void *cookie, const struct sluice_lane *lane, const struct sluice_message *message,
                       const struct sluice_header *headers, size_t header_count)
{
    struct browsed *browsed = cookie;
    char payload[32];
    unsigned number;

    (void)headers;
    (void)header_count;
    assert_true(lane->name && *lane->name && lane->source);
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload.size,
             (const char *)message->payload.data);
    assert_int_equal(sscanf(payload, "m-%u", &number), 1);
    browsed->in_order = (browsed->in_order || !browsed->count) &&
                        (!browsed->count || (number == browsed->last + 1 &&
                                             message->position > browsed->position));
    if (!browsed->count++)
        browsed->first = number;
    browsed->last = number;
    browsed->position = message->position;
    return browsed->count == browsed->most;
}

static void browse_failed(void *cookie, const char *text)
{
    assert_true(*text);
    ((struct browsed *)cookie)->failed++;
}

static int browse(struct sluice_host *host, uint64_t newest, unsigned most, struct browsed *ret_browsed)
{
    const struct sluice_browse asked = {.deadline_us = host_patience(10 * HOST_SECOND),
                                        .newest = newest,
                                        .cookie = ret_browsed,
                                        .see = see_browsed,
                                        .fail = browse_failed};
    int result;

    *ret_browsed = (struct browsed){.most = most};
    assert_int_equal(host_open(host), 0);
    result = host->connector->browse(host->instance, &asked);
    host->connector->close(host->instance);
    host->instance = NULL;
    return result;
}

static void test_what_is_browsed_stays(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *looks = case_host(source), *host = case_host(source);
    struct browsed browsed;

    if (!(looks->connector->capabilities & SLUICE_CAN_BROWSE)) {
        host_free(looks);
        finish(source, host);
        return;
    }
    assert_int_equal(browse(looks, 0, 0, &browsed), 0);
    assert_int_equal(browsed.count, 0);
    case_produce(source, 0, "m", 20);
    assert_int_equal(browse(looks, 0, 0, &browsed), 0);
    assert_int_equal(browsed.count, 20);
    assert_true(browsed.in_order && browsed.first == 0);
    assert_int_equal(browse(looks, 3, 0, &browsed), 0);
    assert_int_equal(browsed.count, 3);
    assert_int_equal(browsed.last, 19);
    assert_int_equal(browse(looks, 0, 5, &browsed), 0);
    assert_int_equal(browsed.last, 4);
    assert_int_equal(the_kind->unsettled(source), 20);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 20);
    assert_int_equal(browse(looks, 0, 0, &browsed), 0); /* beside whoever receives */
    assert_int_equal(browsed.count, 20);
    host_settle_all(host);
    host_stop(host, DEADLINE_US);
    assert_int_equal(browse(looks, 0, 0, &browsed), 0); /* settled is not gone, where it can be browsed */
    assert_int_equal(browsed.failed, 0);
    the_kind->down(source);
    assert_int_not_equal(browse(looks, 0, 0, &browsed), 0);
    assert_true(browsed.failed > 0);
    host_free(looks);
    the_kind->up(source);
    finish(source, host);
}

/* ---- capabilities ---- */

static void test_capabilities_are_true(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *first = case_host(source), *second = case_host(source);
    uint32_t can = host_can(first);

    assert_int_equal(!first->connector->publish, !(can & SLUICE_CAN_PUBLISH));
    assert_int_equal(!first->connector->extend, !(can & SLUICE_CAN_EXTEND));
    assert_int_equal(!first->connector->pause_lane, !(can & SLUICE_CAN_PAUSE_LANE));
    assert_int_equal(!first->connector->browse, !(can & SLUICE_CAN_BROWSE));
    case_produce(source, 0, "m", 20);
    host_run(first, "sluice-contract-0@here");
    host_wait_messages(first, 20);
    for (size_t i = 0; i < 20; i++) {
        const struct record *record = &first->messages[i].record;
        char expected[16];

        snprintf(expected, sizeof expected, "m-%zu", i);
        assert_int_equal(record->key.data != NULL, (can & SLUICE_HAS_KEY) && !the_kind->keyless);
        if (can & SLUICE_IS_ORDERED)
            assert_string_equal(record->payload.data, expected);
    }
    host_stop(first, DEADLINE_US);
    host_run(second, "sluice-contract-0@here");
    host_wait_messages(second, 20);
    for (size_t i = 0; i < 20 && can & SLUICE_HAS_STABLE_IDENTITY; i++) {
        assert_int_equal(second->messages[i].position, first->messages[i].position);
        assert_string_equal(second->lanes[second->messages[i].lane].name,
                            first->lanes[first->messages[i].lane].name);
        assert_true(record_same(&second->messages[i].record, &first->messages[i].record));
    }
    host_free(first);
    finish(source, second);
}

#define CASE(case_) {.name = #case_, .run = test_##case_}
static const struct contract_case common[] = {
    CASE(bytes_arrive_unchanged),
    CASE(all_arrive_once_and_in_order),
    CASE(no_room_keeps_the_session_and_the_memory),
    CASE(a_paused_lane_waits_and_loses_nothing),
    CASE(unsettled_comes_again_and_settled_does_not),
    CASE(settled_is_told_when_it_is_durable),
    CASE(settled_in_any_order),
    CASE(stop_settles_what_was_told),
    CASE(close_in_any_state),
    CASE(a_server_that_goes_and_comes_back),
    CASE(a_server_that_is_not_there_at_the_start),
    CASE(stop_and_close_are_bounded_without_a_server),
    CASE(published_is_confirmed_and_unchanged),
    CASE(a_publication_that_cannot_be_is_told),
    CASE(publications_under_way_at_the_end_are_answered),
    CASE(an_instance_that_only_publishes),
    CASE(what_is_browsed_stays),
    CASE(capabilities_are_true),
};

static int choose_kind(void **state)
{
    the_kind = *state;
    return 0;
}

int cases_main_of(int argc, char **argv, const struct source_kind *const *kinds, size_t kind_count,
                  const struct contract_case *more, size_t count)
{
    static char names[64][100];
    struct contract_case cases[64];
    size_t all = 0;

    for (size_t kind = 0; kind < kind_count; kind++) {
        size_t common_count = sizeof common / sizeof common[0], own = kind ? 0 : count;

        if (all + common_count + own > 64)
            abort();
        for (size_t i = 0; i < common_count + own; i++, all++) {
            cases[all] = i < common_count ? common[i] : more[i - common_count];
            snprintf(names[all], sizeof names[all], "%s%s", kinds[kind]->prefix ? kinds[kind]->prefix : "",
                     cases[all].name);
            cases[all].name = names[all];
            cases[all].begin = choose_kind;
            cases[all].argument = kinds[kind];
        }
    }
    return runner_main(argc, argv, cases, all);
}

int cases_main(int argc, char **argv, const struct source_kind *kind,
               const struct contract_case *more, size_t count)
{
    return cases_main_of(argc, argv, &kind, 1, more, count);
}
