/* SPDX-License-Identifier: MIT
 * The Kafka connector against librdkafka's mock cluster: what all connectors must do, and groups,
 * offsets and Kafka's errors. */
#include <dirent.h>
#include <sys/prctl.h>

#include "cases.h"
#include "kafka_source.h"

static const char *const me = "sluice-contract-0@here";

/* ---- groups ---- */

struct pair {
    struct sluice_host *hosts[2];
    size_t lanes[2]; /* wanted */
};

static bool lanes_shared(void *argument)
{
    struct pair *pair = argument;

    return host_open_lanes(pair->hosts[0]) == pair->lanes[0] &&
           host_open_lanes(pair->hosts[1]) == pair->lanes[1];
}

static size_t seen_by_both(struct pair *pair, const char *payload)
{
    return case_seen(pair->hosts[0], payload) + case_seen(pair->hosts[1], payload);
}

static bool rest_came_again(void *argument)
{
    for (int lane = 0; lane < KAFKA_PARTITIONS; lane++) {
        char payload[16];

        for (int i = 7; i < 10; i++) {
            snprintf(payload, sizeof payload, "m%d-%d", lane, i);
            if (seen_by_both(argument, payload) < 2)
                return false;
        }
    }
    return true;
}

static bool half_came_again(void *argument)
{
    struct pair *pair = argument;

    return pair->hosts[1]->message_count >= 20;
}

static bool all_closing(void *argument)
{
    struct sluice_host *host = argument;

    for (size_t i = 0; i < host->lane_count; i++)
        if (!host->lanes[i].closing)
            return false;
    return host->lane_count > 0;
}

/* Those of the first assignment. */
static bool first_lanes_lost(void *argument)
{
    struct sluice_host *host = argument;

    for (size_t i = 0; i < KAFKA_PARTITIONS; i++)
        if (!host->lanes[i].lost)
            return false;
    return true;
}

static void produce_to_all(struct source *source, const char *prefix, unsigned count)
{
    for (unsigned lane = 0; lane < KAFKA_PARTITIONS; lane++) {
        char name[32];

        snprintf(name, sizeof name, "%s%u", prefix, lane);
        case_produce(source, lane, name, count);
    }
}

static void finish(struct source *source, struct sluice_host *host)
{
    host_free(host);
    kafka_kind.stop(source);
}

static void drain(struct sluice_host *host)
{
    for (size_t i = 0; i < host->lane_count; i++)
        if (!host->lanes[i].lost)
            host->connector->lane_drained(host->instance, host->lanes[i].cookie);
}

/* What is settled between `lane_closing` and `lane_drained` is committed before another member gets
 * the lane, where the broker takes commits during a rebalance (Kafka does; the mock cluster does not,
 * always); what is not comes again there, or here in a new generation. */
static void test_lanes_are_given_back_in_two_steps(void **state)
{
    struct source *source = kafka_kind.start();
    struct pair pair = {{case_host(source), case_host(source)}, {2, 2}};
    struct sluice_host *first = pair.hosts[0], *second = pair.hosts[1];
    size_t settled = 0;

    produce_to_all(source, "m", 10);
    first->drain_later = true;
    host_run(first, me);
    host_wait_messages(first, 40);
    host_run(second, "sluice-contract-1@here");
    hosts_until(pair.hosts, 2, all_closing, first, 20 * HOST_SECOND, "lanes to close");
    assert_int_equal(host_open_lanes(first), 4);
    for (size_t i = 0; i < 40; i++)
        if (first->messages[i].position == 6) {
            assert_int_equal(host_settle(first, i), 0);
            settled++;
        }
    assert_int_equal(settled, 4);
    hosts_stay(pair.hosts, 2, first_lanes_lost, first, HOST_SECOND, "given back before it was drained");
    first->drain_later = false;
    drain(first);
    hosts_until(pair.hosts, 2, lanes_shared, &pair, 40 * HOST_SECOND, "two lanes for each");
    for (int i = 0; i < KAFKA_PARTITIONS; i++) {
        int64_t committed = kafka_committed(source, i);

        if (committed != 7 && committed != RD_KAFKA_OFFSET_INVALID)
            fail_msg("%d: committed %lld, expected 7 or nothing", i, (long long)committed);
    }
    hosts_until(pair.hosts, 2, rest_came_again, &pair, 20 * HOST_SECOND, "the rest");
    for (size_t i = 40; i < first->message_count; i++)
        assert_in_range(first->messages[i].lane, 4, SIZE_MAX); /* new generations */
    host_free(second);
    finish(source, first);
}

static void test_a_lane_that_is_not_drained_is_given_back_at_last(void **state)
{
    struct source *source = kafka_kind.start();
    struct pair pair = {{case_host(source), case_host(source)}, {2, 2}};
    int64_t begin_us;

    produce_to_all(source, "m", 10);
    pair.hosts[0]->drain_later = true;
    host_run(pair.hosts[0], me);
    host_wait_messages(pair.hosts[0], 40);
    host_run(pair.hosts[1], "sluice-contract-1@here");
    hosts_until(pair.hosts, 2, all_closing, pair.hosts[0], 20 * HOST_SECOND, "lanes to close");
    begin_us = host_now();
    hosts_until(pair.hosts, 2, first_lanes_lost, pair.hosts[0], 20 * HOST_SECOND, "lanes to go");
    assert_in_range(host_now() - begin_us, 4 * HOST_SECOND, host_patience(8 * HOST_SECOND));
    for (int i = 0; i < KAFKA_PARTITIONS; i++)
        assert_int_equal(kafka_committed(source, i), RD_KAFKA_OFFSET_INVALID);
    pair.hosts[0]->drain_later = false;
    hosts_until(pair.hosts, 2, lanes_shared, &pair, 40 * HOST_SECOND, "two lanes for each");
    host_free(pair.hosts[1]);
    finish(source, pair.hosts[0]);
}

static void test_cooperative_members_keep_what_they_have(void **state)
{
    struct source *source = kafka_kind.start();
    struct pair pair = {{case_host(source), case_host(source)}, {2, 2}};
    size_t kept = 0;

    produce_to_all(source, "m", 10);
    for (int i = 0; i < 2; i++)
        host_option(pair.hosts[i], "assignment", "cooperative");
    host_run(pair.hosts[0], me);
    host_wait_messages(pair.hosts[0], 40);
    host_run(pair.hosts[1], "sluice-contract-1@here");
    hosts_until(pair.hosts, 2, lanes_shared, &pair, 30 * HOST_SECOND, "two lanes for each");
    assert_int_equal(pair.hosts[0]->lane_count, 4);
    for (size_t i = 0; i < 4; i++)
        kept += !pair.hosts[0]->lanes[i].closing;
    assert_int_equal(kept, 2);
    hosts_until(pair.hosts, 2, half_came_again, &pair, 20 * HOST_SECOND, "the other lanes");
    host_settle_all(pair.hosts[0]);
    host_settle_all(pair.hosts[1]);
    cases_wait_unsettled(source, pair.hosts, 2, 0);
    host_free(pair.hosts[1]);
    finish(source, pair.hosts[0]);
}

struct generation {
    struct sluice_host *host;
    size_t lanes; /* opened in all */
};

static bool opened_again(void *argument)
{
    struct generation *generation = argument;

    return generation->host->lane_count >= generation->lanes &&
           host_open_lanes(generation->host) == KAFKA_PARTITIONS;
}

static void lost_by(int16_t request, rd_kafka_resp_err_t error, bool fatal)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);
    struct generation generation = {host, 2 * KAFKA_PARTITIONS};
    size_t count;

    case_produce(source, 0, "m", 10);
    host_run(host, me);
    host_wait_messages(host, 10);
    host_settle(host, 4);
    case_wait_unsettled(source, host, 5);
    host->states_seen = 0;
    rd_kafka_mock_push_request_errors(kafka_cluster(source), request, 1, error);
    host_settle(host, 6); /* so that there is a commit too */
    hosts_until(&host, 1, opened_again, &generation, 40 * HOST_SECOND, "lanes to come again");
    assert_int_equal((host->states_seen & 1u << SLUICE_STATE_FAILED) != 0, fatal);
    case_produce(source, 0, "n", 1);
    count = kafka_committed(source, 0) == 7 ? 3 : 5;
    host_wait_messages(host, 10 + count + 1);
    assert_int_equal(case_seen(host, "m-9"), 2);
    assert_int_equal(case_seen(host, "m-4"), 1);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    finish(source, host);
}

static void test_a_member_that_the_group_forgot(void **state)
{
    lost_by(KAFKA_HEARTBEAT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, false);
}

static void test_a_generation_that_is_over(void **state)
{
    lost_by(KAFKA_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, false);
}

static void test_a_fenced_member_comes_back_with_a_new_handle(void **state)
{
    lost_by(KAFKA_HEARTBEAT, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, true);
}

/* ---- commits ---- */

static void test_a_failed_commit_is_tried_again(void **state)
{
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_UNKNOWN,
        RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS};
    size_t count = sizeof errors / sizeof errors[0];
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    case_produce(source, 0, "m", (unsigned)count);
    host_run(host, me);
    host_wait_messages(host, count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_mock_push_request_errors(kafka_cluster(source), KAFKA_OFFSET_COMMIT, 3, errors[i],
                                          errors[i], errors[i]);
        assert_int_equal(host_settle(host, i), 0);
        case_wait_unsettled(source, host, count - i - 1);
        rd_kafka_mock_clear_request_errors(kafka_cluster(source), KAFKA_OFFSET_COMMIT);
    }
    finish(source, host);
}

/* ---- fetching ---- */

static void test_failed_fetches_lose_nothing(void **state)
{
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_UNKNOWN, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE};
    size_t count = sizeof errors / sizeof errors[0];
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    host_run(host, me);
    for (unsigned i = 0; i < count; i++) {
        char prefix[32];

        rd_kafka_mock_push_request_errors(kafka_cluster(source), KAFKA_FETCH, 2, errors[i],
                                          errors[i]);
        snprintf(prefix, sizeof prefix, "m%u", i);
        case_produce(source, i % KAFKA_PARTITIONS, prefix, 10);
        host_wait_messages(host, 10 * (i + 1));
    }
    assert_int_equal(host->lane_count, KAFKA_PARTITIONS);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    finish(source, host);
}

struct twice {
    struct sluice_host *host;
    const char *payload;
};

static bool seen_twice(void *argument)
{
    struct twice *twice = argument;

    return case_seen(twice->host, twice->payload) == 2;
}

/* An offset that the broker does not know (a log that was cut, or made anew) sends the consumer back
 * to the oldest message. Positions begin again, so it is a new generation of the lane, and what is
 * settled in it is committed although the group had come further: kept, the old offset would skip
 * what is written there meanwhile. */
static void test_a_log_that_begins_again(void **state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);
    struct twice twice = {host, "m-9"};

    case_produce(source, 0, "m", 10);
    host_run(host, me);
    host_wait_messages(host, 10);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    rd_kafka_mock_push_request_errors(kafka_cluster(source), KAFKA_FETCH, 1,
                                      RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE);
    hosts_until(&host, 1, seen_twice, &twice, 20 * HOST_SECOND, "the log from its beginning");
    assert_int_equal(host->lane_count, KAFKA_PARTITIONS + 1);
    for (size_t i = 10; i < 20; i++)
        if (host->messages[i].position == 4)
            assert_int_equal(host_settle(host, i), 0);
    case_wait_unsettled(source, host, 5);
    host_settle_all(host);
    case_wait_unsettled(source, host, 0);
    finish(source, host);
}

/* ---- where to start ---- */

static void test_latest_is_committed_before_anything_arrives(void **state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source), *next = case_host(source);
    struct generation generation = {host, KAFKA_PARTITIONS};

    host_option(host, "start", "latest");
    host_option(next, "start", "latest");
    produce_to_all(source, "old", 10);
    host_run(host, me);
    hosts_until(&host, 1, opened_again, &generation, 20 * HOST_SECOND, "lanes");
    for (int i = 0; i < KAFKA_PARTITIONS; i++)
        assert_int_equal(kafka_committed(source, i), 10);
    for (size_t i = 0; i < host->lane_count; i++)
        assert_int_equal(host->lanes[i].told, 10);
    host_free(host); /* as if it crashed */
    produce_to_all(source, "new", 10);
    host_run(next, me);
    host_wait_messages(next, 40);
    assert_int_equal(case_seen(next, "new0-0"), 1);
    assert_int_equal(case_seen(next, "old0-9"), 0);
    finish(source, next);
}

static void latest_with_errors(int16_t request, rd_kafka_resp_err_t error)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    host_option(host, "start", "latest");
    produce_to_all(source, "m", 10);
    for (int i = 0; i < KAFKA_PARTITIONS; i++)
        kafka_set_committed(source, i, 5);
    rd_kafka_mock_push_request_errors(kafka_cluster(source), request, 3, error, error, error);
    host_run(host, me);
    host_wait_messages(host, 20);
    assert_int_equal(case_seen(host, "m3-5"), 1);
    assert_int_equal(host->messages[0].position, 5);
    finish(source, host);
}

static void test_offsets_that_cannot_be_read_are_not_absent(void **state)
{
    latest_with_errors(KAFKA_OFFSET_FETCH, RD_KAFKA_RESP_ERR_UNKNOWN);
    latest_with_errors(KAFKA_OFFSET_FETCH, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    latest_with_errors(KAFKA_OFFSET_FETCH, RD_KAFKA_RESP_ERR__TRANSPORT);
}

/* A start that could not be committed is decided again, and nothing is delivered before. */
static void test_latest_that_cannot_be_committed_waits(void **state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);
    struct generation generation = {host, KAFKA_PARTITIONS};

    host_option(host, "start", "latest");
    produce_to_all(source, "old", 10);
    rd_kafka_mock_push_request_errors(kafka_cluster(source), KAFKA_OFFSET_COMMIT, 2,
                                      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    host_run(host, me);
    host_wait_state(host, SLUICE_STATE_FAILED);
    assert_int_equal(host->lane_count, 0);
    hosts_until(&host, 1, opened_again, &generation, 20 * HOST_SECOND, "lanes");
    for (int i = 0; i < KAFKA_PARTITIONS; i++)
        assert_int_equal(kafka_committed(source, i), 10);
    assert_int_equal(host->state, SLUICE_STATE_RUNNING);
    finish(source, host);
}

/* ---- states ---- */

static void group_errors(int16_t request, rd_kafka_resp_err_t error, uint32_t state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    case_produce(source, 0, "m", 10);
    rd_kafka_mock_push_request_errors(kafka_cluster(source), request, 3, error, error, error);
    host_run(host, me);
    if (state)
        host_wait_state(host, state);
    host_wait_messages(host, 10);
    host_wait_state(host, SLUICE_STATE_RUNNING);
    finish(source, host);
}

static void test_errors_while_joining_are_states(void **state)
{
    group_errors(KAFKA_JOIN_GROUP, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 0);
    group_errors(KAFKA_FIND_COORDINATOR, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                 SLUICE_STATE_UNAUTHORISED);
}

static void test_more_errors_while_joining_are_states(void **state)
{
    group_errors(KAFKA_SYNC_GROUP, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 0);
    group_errors(KAFKA_JOIN_GROUP, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                 SLUICE_STATE_UNAUTHORISED);
}

/* ---- what is fetched ahead ---- */

static void test_the_least_fetch_buffer_receives(void **state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    host_option(host, "fetch.buffer", "1048576");
    case_produce(source, 0, "m", 10);
    host_run(host, me);
    host_wait_messages(host, 10);
    finish(source, host);
}

/* ---- pauses ---- */

/* What was taken from the queue when the lane was found paused is not lost, nor told twice, and goes with
 * the lane. */
static void test_a_lane_paused_for_a_moment(void **state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);
    void *lane;

    case_produce(source, 0, "a", 10);
    host_run(host, me);
    host_wait_messages(host, 10);
    lane = host->lanes[host->messages[0].lane].cookie;
    for (unsigned round = 0; round < 3; round++) {
        char name[16];

        snprintf(name, sizeof name, "b%u-", round);
        host->connector->pause_lane(host->instance, lane, true);
        case_produce(source, 0, name, 100);
        case_produce(source, 1, "other", 1);
        hosts_stay(&host, 1, NULL, NULL, HOST_SECOND / 50, "");
        host->connector->pause_lane(host->instance, lane, false);
        host_wait_messages(host, 10 + (round + 1) * 101);
    }
    for (size_t i = 1, next = 0; i < host->message_count; i++)
        if (host->messages[i].lane == host->messages[0].lane)
            assert_int_equal(host->messages[i].position, ++next);
    host->connector->pause_lane(host->instance, lane, true);
    case_produce(source, 0, "c", 100);
    hosts_stay(&host, 1, NULL, NULL, HOST_SECOND / 50, "");
    finish(source, host); /* which would wait for ever for a message that is kept */
}

/* However often it is paused for long, and goes on for a moment, no more is fetched ahead of it than
 * fetch.buffer says: what the connector has is all that there is while the broker is away. */
static void test_a_lane_paused_again_and_again_keeps_little(void **state)
{
    static char body[20000];
    struct record records[240];
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);
    size_t seen;
    void *lane;

    memset(body, 'x', sizeof body);
    for (size_t i = 0; i < 240; i++)
        records[i] = (struct record){.payload = {body, sizeof body}};
    host_option(host, "fetch.buffer", "1048576");
    case_produce(source, 0, "a", 1);
    host_run(host, me);
    host_wait_messages(host, 1);
    lane = host->lanes[host->messages[0].lane].cookie;
    host->room.messages = 1;
    host->connector->pause_lane(host->instance, lane, true);
    kafka_kind.produce(source, 0, records, 240);
    for (unsigned round = 0; round < 8; round++) {
        hosts_stay(&host, 1, NULL, NULL, HOST_SECOND / 5, "");
        seen = host->message_count;
        host->connector->pause_lane(host->instance, lane, false);
        host_wait_messages(host, seen + 1);
        host->connector->pause_lane(host->instance, lane, true);
    }
    seen = host->message_count;
    assert_int_equal(rd_kafka_mock_broker_set_down(kafka_cluster(source), 1), 0);
    host->room.messages = HOST_FOREVER;
    host->connector->pause_lane(host->instance, lane, false);
    hosts_stay(&host, 1, NULL, NULL, HOST_SECOND / 2, "");
    assert_in_range(host->message_count - seen, 1, ((3 << 20) + 1000000) / sizeof body); /* and a fetch */
    assert_int_equal(rd_kafka_mock_broker_set_up(kafka_cluster(source), 1), 0);
    host_wait_messages(host, 241);
    for (size_t i = 0; i < 241; i++)
        assert_int_equal(host->messages[i].position, i);
    finish(source, host);
}

/* ---- threads ---- */

/* The largest slack of the timers of a thread of that name; 0 where none can be read. */
static long slack_of(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    long most = 0;

    while (tasks && (entry = readdir(tasks))) {
        char path[300], comm[32] = "", text[32] = "";
        FILE *files[2];

        snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
        files[0] = fopen(path, "r");
        snprintf(path, sizeof path, "/proc/%s/timerslack_ns", entry->d_name);
        files[1] = fopen(path, "r");
        if (files[0] && files[1] && fgets(comm, sizeof comm, files[0]) && !strcmp(comm, name) &&
            fgets(text, sizeof text, files[1]) && atol(text) > most)
            most = atol(text);
        for (int i = 0; i < 2; i++)
            if (files[i])
                fclose(files[i]);
    }
    if (tasks)
        closedir(tasks);
    return most;
}

static void test_threads_of_an_old_library_wake_lazily(void **state)
{
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);
    int own = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    long others = slack_of("rdk:main\n"); /* of the mock cluster */

    host_run(host, me);
    host_wait_state(host, SLUICE_STATE_RUNNING);
    assert_int_equal(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), own);
    if (others) /* who may not read it sees none */
        assert_int_equal(slack_of("rdk:main\n"),
                         rd_kafka_version() < 0x02020000 ? 50000000 : others);
    finish(source, host);
}

/* ---- publishing ---- */

static void test_publications_outlive_passing_errors(void **state)
{
    static const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                                 RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                                                 RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                                                 RD_KAFKA_RESP_ERR__TRANSPORT};
    static const struct record record = {.payload = {"v", 1}};
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    host_run(host, me);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        rd_kafka_mock_push_request_errors(kafka_cluster(source), KAFKA_PRODUCE, 2, errors[i],
                                          errors[i]);
        assert_true(case_publish(host, kafka_kind.destination, &record));
    }
    finish(source, host);
}

static void test_a_fatal_producer_error_makes_a_new_producer(void **state)
{
    static const struct record record = {.payload = {"v", 1}};
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    host_run(host, me);
    rd_kafka_mock_push_request_errors(kafka_cluster(source), KAFKA_INIT_PRODUCER_ID, 1,
                                      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
    /* Where the error is there before the message is taken, the new producer gets that one already. */
    if (!case_publish(host, kafka_kind.destination, &record))
        assert_non_null(strstr(host->publish_error, kafka_kind.destination));
    assert_true(case_publish(host, kafka_kind.destination, &record));
    finish(source, host);
}

/* What will never be taken is told, not refused again and again. */
static void test_a_publication_that_is_too_large_is_told(void **state)
{
    static char large[1 << 21];
    static const struct record record = {.payload = {large, sizeof large}};
    struct source *source = kafka_kind.start();
    struct sluice_host *host = case_host(source);

    host_run(host, me);
    assert_false(case_publish(host, kafka_kind.destination, &record));
    assert_non_null(strstr(host->publish_error, kafka_kind.destination));
    assert_int_equal(host->unpublishable, 1);
    finish(source, host);
}

/* ---- options ---- */

static void test_options_that_break_the_promise_are_refused(void **state)
{
    static const char *const properties[][2] = {
        {"enable.auto.commit", "true"}, {"enable.auto.offset.store", "true"},
        {"auto.offset.reset", "latest"}, {"group.id", "x"}, {"log.queue", "false"}, {"check.crcs", "true"},
        {"sasl.password", "x"}, {"no.such.property", "1"}};

    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
        struct sluice_host *host = host_new(host_load("kafka"));

        host_option(host, "brokers", "127.0.0.1:1");
        host_option(host, "topic", "t");
        host_option(host, "group", "g");
        host_property(host, "properties", properties[i][0], properties[i][1]);
        assert_int_not_equal(host_open(host), 0);
        if (!strstr(host->refused, properties[i][0]))
            fail_msg("found \"%s\", expected %s in it", host->refused, properties[i][0]);
        host_free(host);
    }
}

#define CASE(case_) {.name = #case_, .run = test_##case_}
static const struct contract_case kafka_cases[] = {
    CASE(lanes_are_given_back_in_two_steps),
    CASE(a_lane_that_is_not_drained_is_given_back_at_last),
    CASE(cooperative_members_keep_what_they_have),
    CASE(a_member_that_the_group_forgot),
    CASE(a_generation_that_is_over),
    CASE(a_fenced_member_comes_back_with_a_new_handle),
    CASE(a_failed_commit_is_tried_again),
    CASE(failed_fetches_lose_nothing),
    CASE(a_log_that_begins_again),
    CASE(latest_is_committed_before_anything_arrives),
    CASE(offsets_that_cannot_be_read_are_not_absent),
    CASE(latest_that_cannot_be_committed_waits),
    CASE(errors_while_joining_are_states),
    CASE(more_errors_while_joining_are_states),
    CASE(the_least_fetch_buffer_receives),
    CASE(a_lane_paused_for_a_moment),
    CASE(a_lane_paused_again_and_again_keeps_little),
    CASE(threads_of_an_old_library_wake_lazily),
    CASE(publications_outlive_passing_errors),
    CASE(a_fatal_producer_error_makes_a_new_producer),
    CASE(a_publication_that_is_too_large_is_told),
    CASE(options_that_break_the_promise_are_refused),
};

int main(int argc, char **argv)
{
    return cases_main(argc, argv, &kafka_kind, kafka_cases,
                      sizeof kafka_cases / sizeof kafka_cases[0]);
}
