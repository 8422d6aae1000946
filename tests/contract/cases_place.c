/* SPDX-License-Identifier: MIT
 * What every connector must do that publishes, or can be looked into. */
#include "cases_inside.h"

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
    struct sluice_header headers[] = {{case_text("a"), case_text("1")}, {case_text("a"), {binary, 3}}};
    struct record sent[] = {
        {.key = case_text("k"), .payload = case_text("v"), .headers = headers, .header_count = 2},
        {.key = {NULL, 0}, .payload = {binary, 3}},
        {.key = {"", 0}, .payload = {"", 0}},
        {.key = case_text("tombstone"), .payload = {NULL, 0}},
    };
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct letters letters = {host, 4};
    bool arrived[4] = {false};
    size_t found;

    if (!the_kind->headers_repeat)
        headers[1].name = case_text("b");
    if (the_kind->headers_are_text)
        headers[1].value = case_text("grün");
    if (!(host_can(host) & SLUICE_CAN_PUBLISH)) {
        assert_null(host->connector->publish);
        case_finish(source, host);
        return;
    }
    host_run(host, "sluice-contract-0@here");
    for (size_t i = 0; i < 4; i++) {
        case_fit(host, &sent[i], 1);
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
    case_finish(source, host);
}

static void test_a_publication_that_cannot_be_is_told(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct record record = {.key = case_text("k"), .payload = case_text("v")};

    if (host_can(host) & SLUICE_CAN_PUBLISH) {
        host_run(host, "sluice-contract-0@here");
        if (the_kind->refuse)
            the_kind->refuse(source);
        assert_false(case_publish(host, the_kind->no_destination, &record));
        if (!strstr(host->publish_error, the_kind->no_destination))
            fail_msg("found \"%s\", expected the destination in it", host->publish_error);
    }
    case_finish(source, host);
}

/* Each publication is answered once, at the latest when the instance is closed. */
static void test_publications_under_way_at_the_end_are_answered(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct record record = {.key = case_text("k"), .payload = case_text("v")};

    if (host_can(host) & SLUICE_CAN_PUBLISH) {
        host_run(host, "sluice-contract-0@here");
        for (int i = 0; i < 10; i++)
            publish(host, the_kind->destination, &record);
        host_stop(host, CASE_DEADLINE_US);
        assert_int_equal(host->published, 10);
        assert_int_equal(host->unpublished, 0);
    }
    case_finish(source, host);
}

/* It joins nothing and takes nothing. */
static void test_an_instance_that_only_publishes(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    struct record record = {.payload = case_text("v")}, read;

    if (!host->connector->open_publisher) {
        case_finish(source, host);
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
    host_stop(host, CASE_DEADLINE_US);
    assert_int_equal(the_kind->unsettled(source), 5);
    case_finish(source, host);
}

/* ---- browsing ---- */

struct browsed {
    unsigned count, failed;
    unsigned first, last; /* numbers of messages */
    uint64_t position;
    bool in_order;
    unsigned most; /* ends after so many; 0: never */
    unsigned asked; /* whether messages may be taken */
    bool allows;
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

static int allow_taking(void *cookie, bool may_lose, const char *text)
{
    struct browsed *browsed = cookie;

    (void)may_lose;
    assert_true(*text);
    assert_int_equal(browsed->count, 0);
    browsed->asked++;
    return !browsed->allows;
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

    if ((host_can(looks) & (SLUICE_CAN_BROWSE | SLUICE_BROWSE_LEAVES_TRACE)) != SLUICE_CAN_BROWSE) {
        host_free(looks);
        case_finish(source, host);
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
    host_stop(host, CASE_DEADLINE_US);
    assert_int_equal(browse(looks, 0, 0, &browsed), 0); /* settled is not gone, where it can be browsed */
    assert_int_equal(browsed.failed, 0);
    the_kind->down(source);
    assert_int_not_equal(browse(looks, 0, 0, &browsed), 0);
    assert_true(browsed.failed > 0);
    host_free(looks);
    the_kind->up(source);
    case_finish(source, host);
}

/* Where a look takes messages: only if it may, and all come again. */
static void test_what_is_taken_to_look_comes_back(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *looks = case_host(source), *host = case_host(source);
    const uint32_t traces = SLUICE_CAN_BROWSE | SLUICE_BROWSE_LEAVES_TRACE;
    struct browsed browsed = {.allows = false};
    struct sluice_browse asked = {.deadline_us = host_patience(10 * HOST_SECOND),
                                  .cookie = &browsed,
                                  .see = see_browsed,
                                  .fail = browse_failed,
                                  .allow = allow_taking,
                                  .most_messages = 100,
                                  .most_bytes = 1 << 20};

    if ((host_can(looks) & traces) != traces) {
        host_free(looks);
        case_finish(source, host);
        return;
    }
    case_produce(source, 0, "m", 20);
    for (int allows = 0; allows < 2; allows++) {
        browsed = (struct browsed){.allows = allows};
        assert_int_equal(host_open(looks), 0);
        assert_int_equal(looks->connector->browse(looks->instance, &asked), 0);
        looks->connector->close(looks->instance);
        looks->instance = NULL;
        assert_int_equal(browsed.count, allows ? 20 : 0);
        assert_int_equal(browsed.failed, 0);
        assert_int_equal(browsed.asked, 1);
        assert_int_equal(the_kind->unsettled(source), 20);
    }
    asked.allow = NULL; /* a host that does not know of it */
    browsed = (struct browsed){.allows = false};
    assert_int_equal(host_open(looks), 0);
    assert_int_not_equal(looks->connector->browse(looks->instance, &asked), 0);
    looks->connector->close(looks->instance);
    looks->instance = NULL;
    assert_int_equal(browsed.count, 0);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 20);
    host_settle_all(host);
    host_stop(host, CASE_DEADLINE_US);
    assert_int_equal(the_kind->unsettled(source), 0);
    host_free(looks);
    case_finish(source, host);
}

const struct contract_case cases_of_place[] = {
    CASE(published_is_confirmed_and_unchanged),
    CASE(a_publication_that_cannot_be_is_told),
    CASE(publications_under_way_at_the_end_are_answered),
    CASE(an_instance_that_only_publishes),
    CASE(what_is_browsed_stays),
    CASE(what_is_taken_to_look_comes_back),
};
const size_t cases_of_place_count = sizeof cases_of_place / sizeof cases_of_place[0];
