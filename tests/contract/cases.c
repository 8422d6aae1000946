/* SPDX-License-Identifier: MIT */
#include "cases_inside.h"

#include <poll.h>
#include <unistd.h>

const struct source_kind *the_kind;

struct sluice_host *case_host(struct source *source)
{
    struct sluice_host *host = host_new(host_load(the_kind->connector));

    the_kind->options(source, host);
    host->keep = true;
    return host;
}

struct sluice_bytes case_text(const char *text)
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
            records[i] = (struct record){.payload = case_text(names[i])};
            if (!the_kind->keyless)
                records[i].key = case_text(names[i]);
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

void case_finish(struct source *source, struct sluice_host *host)
{
    host_free(host);
    the_kind->stop(source);
}

void case_fit(const struct sluice_host *host, struct record *records, size_t count)
{
    bool keyless = the_kind->keyless || !(host_can(host) & SLUICE_HAS_KEY);

    for (size_t i = 0; i < count; i++) {
        if (keyless) {
            records[i].key = (struct sluice_bytes){NULL, 0};
            if (!records[i].payload.data)
                records[i].payload = (struct sluice_bytes){"", 0};
        }
        if (the_kind->no_empty && records[i].payload.data && !records[i].payload.size)
            records[i].payload = case_text("not empty");
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
        {case_text("a"), case_text("1")}, {case_text("a"), case_text("2")}, {case_text("b"), {every, sizeof every}},
        {case_text("empty"), {"", 0}}};
    struct record records[] = {
        {.key = case_text("k"), .payload = case_text("plain")},
        {.key = {"", 0}, .payload = {"", 0}},
        {.key = {NULL, 0}, .payload = case_text("no key")},
        {.key = case_text("tombstone"), .payload = {NULL, 0}},
        {.key = {NULL, 0}, .payload = {NULL, 0}},
        {.key = {every, sizeof every}, .payload = {every, sizeof every}},
        {.key = case_text("large"), .payload = {large, sizeof large}},
        {.key = case_text("headers"), .payload = case_text("h"), .headers = headers, .header_count = 4},
    };
    size_t count = sizeof records / sizeof records[0];
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 2654435761u >> 24);
    case_fit(host, records, count);
    if (the_kind->headers_are_text)
        headers[2].value = case_text("grün");
    if (!the_kind->headers_repeat)
        headers[1].name = case_text("another");
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
    case_finish(source, host);
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
    case_finish(source, host);
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
    case_finish(source, host);
}

static void test_a_paused_lane_waits_and_loses_nothing(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    const struct host_lane *lane;
    size_t seen;

    if (!(host_can(host) & SLUICE_CAN_PAUSE_LANE)) {
        case_finish(source, host);
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
    case_finish(source, host);
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
    host_stop(host, CASE_DEADLINE_US);
    assert_int_equal(the_kind->unsettled(source), 6);
    host_free(host);

    host_run(next, "sluice-contract-0@here");
    host_wait_messages(next, 6);
    each_seen(next, "m", 0, 4, 0);
    each_seen(next, "m", 4, 10, 1);
    host_settle_all(next);
    case_wait_unsettled(source, next, 0);
    case_finish(source, next);
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
    case_finish(source, host);
}

static void test_stop_settles_what_was_told(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    case_produce(source, 0, "m", 100);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 100);
    host_settle_all(host);
    host_stop(host, CASE_DEADLINE_US);
    assert_int_equal(host_open_lanes(host), 0);
    cases_wait_unsettled(source, &host, 0, 0); /* nobody turns the host any more */
    case_finish(source, host);
}

/* What is done behind a gap is acknowledged alone, in any order; the gap alone comes again. */
static void test_settled_in_any_order(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source), *next = case_host(source);

    if (host_can(host) & SLUICE_CAN_SETTLE_UP_TO) {
        host_free(next);
        case_finish(source, host);
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
    case_finish(source, next);
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
    case_finish(source, holding); /* with all messages held: lost, then released */
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
    case_finish(source, host);
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
    case_finish(source, host);
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
    host_stop(first, CASE_DEADLINE_US);
    host_run(second, "sluice-contract-0@here");
    host_wait_messages(second, 20);
    for (size_t i = 0; i < 20 && can & SLUICE_HAS_STABLE_IDENTITY; i++) {
        assert_int_equal(second->messages[i].position, first->messages[i].position);
        assert_string_equal(second->lanes[second->messages[i].lane].name,
                            first->lanes[first->messages[i].lane].name);
        assert_true(record_same(&second->messages[i].record, &first->messages[i].record));
    }
    host_free(first);
    case_finish(source, second);
}

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
    CASE(capabilities_are_true),
};

static int choose_kind(void **state)
{
    the_kind = *state;
    return 0;
}

struct table {
    struct contract_case cases[64];
    char names[64][100];
    size_t count;
};

static void add_cases(struct table *table, const struct source_kind *kind,
                      const struct contract_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++, table->count++) {
        struct contract_case *added = &table->cases[table->count];
        char *name = table->names[table->count];

        if (table->count == 64)
            abort();
        snprintf(name, sizeof table->names[0], "%s%s", kind->prefix ? kind->prefix : "", cases[i].name);
        *added = cases[i];
        added->name = name;
        added->begin = choose_kind;
        added->argument = kind;
    }
}

int cases_main_of(int argc, char **argv, const struct source_kind *const *kinds, size_t kind_count,
                  const struct contract_case *more, size_t count)
{
    static struct table table;

    for (size_t i = 0; i < kind_count; i++) {
        add_cases(&table, kinds[i], common, sizeof common / sizeof common[0]);
        add_cases(&table, kinds[i], cases_of_place, cases_of_place_count);
        add_cases(&table, kinds[i], more, i ? 0 : count);
    }
    return runner_main(argc, argv, table.cases, table.count);
}

int cases_main(int argc, char **argv, const struct source_kind *kind,
               const struct contract_case *more, size_t count)
{
    return cases_main_of(argc, argv, &kind, 1, more, count);
}
