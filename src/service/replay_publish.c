/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/replay_publish.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <sluice/connector.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"
#include "io/loop.h"
#include "service/host_nothing.h"
#include "service/options.h"
#include "service/replay_letter.h"
#include "service/replay_remover.h"

#define OUT_MOST       500                /* letters under way */
#define OUT_BYTES      ((size_t)16 << 20) /* and their bytes, past the first */
#define REMOVE_MOST    20000              /* confirmed, and not out of the store yet */
#define RETRY_FIRST_US (500 * CLOCK_MS)
#define RETRY_MOST_US  (10 * CLOCK_SECOND)
#define START_RETRY_US (5 * CLOCK_SECOND)
#define SILENT_US      (5 * CLOCK_SECOND) /* without a confirmation: then it is told that it waits */
#define TURN_US        (500 * CLOCK_MS)

struct sluice_host {
    struct replay_publish *publish;
};

/* A letter on its way. */
struct shipment {
    struct shipment *next;
    struct replay_letter *letter;
    struct sluice_header *headers; /* the message's, and the mark */
    size_t header_count, bytes;
    char *destination;
    bool sent;
};

struct replay_publish {
    struct replay_publish_settings settings;
    char *directory, *detail, *login;
    const struct sluice_connector *connector;
    struct sluice_host host;
    void *instance;
    bool started;
    int64_t start_us, receive_us;
    struct loop *loop;
    int wake;
    struct dead_letter_store *store;
    struct replay_remover *remover;
    struct shipment *shipments, **shipments_end; /* under way, or to be sent again; in order */
    size_t out, bytes, next;    /* next: of the places */
    int64_t next_us;            /* when the rate allows the next one */
    int64_t retry_us, heard_us; /* heard: when the last confirmation came, or the first was sent */
    unsigned failures;          /* in a row */
    uint32_t state;
    char state_text[400], error[400]; /* error: "" while none is in the way */
    struct replay_publish_status present;

    atomic_bool stop_asked, ended;
    _Atomic int64_t stop_us;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    struct replay_publish_status status; /* under the lock */
};

/* ---- letters ---- */

static bool is_mark(struct sluice_bytes name)
{
    return name.size == strlen(REPLAY_PUBLISH_MARK) &&
           !memcmp(name.data, REPLAY_PUBLISH_MARK, name.size);
}

static int load_letter(void *argument, const struct dead_letter *letter)
{
    struct shipment *shipment = memory_zero(1, sizeof *shipment);
    struct replay_letter *copy = replay_letter_copy(letter);

    shipment->letter = copy;
    shipment->destination = memory_text(letter->source);
    shipment->headers = memory_zero(copy->header_count + 1, sizeof *shipment->headers);
    shipment->bytes = copy->message.payload.size + copy->message.key.size;
    for (size_t i = 0; i < copy->header_count; i++)
        if (!is_mark(copy->headers[i].name))
            shipment->headers[shipment->header_count++] = copy->headers[i];
    shipment->headers[shipment->header_count++] =
        (struct sluice_header){{REPLAY_PUBLISH_MARK, strlen(REPLAY_PUBLISH_MARK)},
                               {copy->id, strlen(copy->id)}};
    *(struct shipment **)argument = shipment;
    return 1;
}

static void free_shipment(struct shipment *shipment)
{
    free(shipment->letter);
    free(shipment->headers);
    free(shipment->destination);
    free(shipment);
}

static void take_out(struct replay_publish *publish, struct shipment *shipment)
{
    struct shipment **at = &publish->shipments;

    while (*at != shipment)
        at = &(*at)->next;
    *at = shipment->next;
    if (!*at)
        publish->shipments_end = at;
    publish->out--;
    publish->bytes -= shipment->bytes;
    free_shipment(shipment);
}

/* ---- sending ---- */

/* Whether the connector took it. */
static bool send(struct replay_publish *publish, struct shipment *shipment)
{
    const struct sluice_publication publication = {
        .destination = shipment->destination,
        .key = publish->connector->capabilities & SLUICE_HAS_KEY ? shipment->letter->message.key
                                                                 : (struct sluice_bytes){NULL, 0},
        .payload = shipment->letter->message.payload,
        .headers = shipment->headers,
        .header_count = shipment->header_count,
        .cookie = shipment,
    };

    shipment->sent = !publish->connector->publish(publish->instance, &publication);
    if (shipment->sent && !publish->heard_us)
        publish->heard_us = clock_now();
    return shipment->sent;
}

static bool send_again(struct replay_publish *publish)
{
    for (struct shipment *each = publish->shipments; each; each = each->next)
        if (!each->sent && !send(publish, each))
            return false;
    return true;
}

/* The next letter from the store. 1: it is there; 0: gone; -1: the store cannot be read. */
static int load(struct replay_publish *publish, struct shipment **ret_shipment)
{
    struct fault fault;
    int found = publish->store->ops->read(publish->store,
                                          publish->settings.places[publish->next].number,
                                          load_letter, ret_shipment, &fault);

    if (found < 0)
        snprintf(publish->error, sizeof publish->error, "%.300s", fault.text);
    else
        publish->next++;
    if (found == 0)
        publish->present.gone++;
    return found;
}

static bool has_room(struct replay_publish *publish, int64_t now_us)
{
    struct replay_remover_state removed;

    if (publish->next == publish->settings.count || publish->out >= OUT_MOST ||
        publish->bytes >= OUT_BYTES || atomic_load(&publish->stop_asked) ||
        (publish->settings.rate && publish->next_us > now_us))
        return false;
    replay_remover_state(publish->remover, &removed);
    return removed.waiting < REMOVE_MOST && !removed.failing;
}

static void send_more(struct replay_publish *publish, int64_t now_us)
{
    if (!publish->started || now_us < publish->retry_us || !send_again(publish))
        return;
    while (has_room(publish, now_us)) {
        struct shipment *shipment = NULL;
        int found = load(publish, &shipment);

        if (found < 0)
            return;
        if (!found)
            continue;
        *publish->shipments_end = shipment;
        publish->shipments_end = &shipment->next;
        publish->out++;
        publish->bytes += shipment->bytes;
        if (publish->settings.rate)
            publish->next_us = (publish->next_us > now_us - CLOCK_SECOND / 10 ? publish->next_us
                                                                             : now_us) +
                               CLOCK_SECOND / publish->settings.rate;
        if (!send(publish, shipment))
            return;
    }
}

/* ---- the connector's host ---- */

static void fail(struct replay_publish *publish, const char *error)
{
    int64_t now_us = clock_now(), pause_us = RETRY_FIRST_US;

    snprintf(publish->error, sizeof publish->error, "%.300s", error);
    if (now_us < publish->retry_us)
        return; /* one of several that failed together */
    for (unsigned i = 0; i < publish->failures && pause_us < RETRY_MOST_US; i++)
        pause_us *= 2;
    publish->failures++;
    publish->retry_us = now_us + (pause_us < RETRY_MOST_US ? pause_us : RETRY_MOST_US);
}

static void host_published(struct sluice_host *host, void *cookie, const char *error)
{
    struct replay_publish *publish = host->publish;
    struct shipment *shipment = cookie;

    shipment->sent = false;
    if (error) {
        fail(publish, error);
        return;
    }
    publish->failures = 0;
    publish->retry_us = 0;
    publish->error[0] = '\0';
    publish->heard_us = clock_now();
    publish->present.done++;
    replay_remover_add(publish->remover, shipment->letter->number, shipment->letter->edits);
    take_out(publish, shipment);
}

static void host_unpublishable(struct sluice_host *host, void *cookie, const char *error)
{
    struct replay_publish *publish = host->publish;
    struct shipment *shipment = cookie;

    log_event(LOG_WARNING, "replay_unpublishable",
              LOG_TEXT("mapping", publish->settings.mapping->name),
              LOG_TEXT("id", shipment->letter->id), LOG_TEXT("error", error),
              LOG_TEXT("effect", "it stays a dead letter"));
    publish->present.failed++;
    replay_remover_died(publish->remover);
    take_out(publish, shipment);
}

static void host_log(struct sluice_host *host, uint32_t level, const char *event, const char *text)
{
    log_event((enum log_level)level, event,
              LOG_TEXT("mapping", host->publish->settings.mapping->name), LOG_TEXT("text", text));
}

static void host_state(struct sluice_host *host, uint32_t state, const char *text)
{
    host->publish->state = state;
    snprintf(host->publish->state_text, sizeof host->publish->state_text, "%s", text ? text : "");
}

static const struct sluice_host_api host_api = {
    .struct_size = sizeof(struct sluice_host_api),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .values = &options_api,
    .log = host_log,
    .state = host_state,
    .lane_opened = host_nothing_lane_opened,
    .lane_closing = host_nothing_lane,
    .lane_lost = host_nothing_lane,
    .deliver = host_nothing_deliver,
    .settled = host_nothing_settled,
    .published = host_published,
    .stopped = host_nothing_stopped,
    .settle_failed = host_nothing_settle_failed,
    .unpublishable = host_unpublishable,
};

/* ---- the thread ---- */

static void on_ready(void *argument, uint32_t events)
{
    struct replay_publish *publish = argument;
    uint64_t count;

    (void)events;
    publish->receive_us = 0;
    if (read(publish->wake, &count, sizeof count) < 0)
        return; /* it was the connector */
}

static void start_connector(struct replay_publish *publish, int64_t now_us)
{
    char name[200], host[64] = "localhost";

    if (publish->started || now_us < publish->start_us)
        return;
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "sluice-%s-replay@%s", publish->settings.mapping->name, host);
    if (publish->connector->start(publish->instance, name)) {
        publish->start_us = now_us + START_RETRY_US;
        return;
    }
    publish->started = true;
    loop_watch(publish->loop, publish->connector->descriptor(publish->instance), EPOLLIN, on_ready,
               publish);
}

static void receive(struct replay_publish *publish, int64_t now_us)
{
    const struct sluice_room none = {0};
    int64_t again_us;

    if (!publish->started || now_us < publish->receive_us)
        return;
    again_us = publish->connector->receive(publish->instance, &none);
    publish->receive_us = now_us + (again_us < 0 || again_us > TURN_US ? TURN_US : again_us);
}

static const char *why_down(const struct replay_publish *publish,
                            const struct replay_remover_state *removed, int64_t now_us)
{
    if (removed->failing)
        return removed->fault.text;
    if (publish->error[0])
        return publish->error;
    if (!publish->out || now_us - publish->heard_us < SILENT_US)
        return NULL;
    return publish->state_text[0] ? publish->state_text : "it confirms nothing";
}

static void share_status(struct replay_publish *publish, int64_t now_us)
{
    struct replay_publish_status *present = &publish->present;
    struct replay_remover_state removed;
    const char *why;

    replay_remover_state(publish->remover, &removed);
    present->changed = removed.changed;
    why = why_down(publish, &removed, now_us);
    present->down = why != NULL;
    snprintf(present->text, sizeof present->text, "%.399s", why ? why : "");
    pthread_mutex_lock(&publish->lock);
    publish->status = *present;
    pthread_mutex_unlock(&publish->lock);
}

/* Whether all that shall be published is, or has to be left. */
static bool is_over(struct replay_publish *publish, int64_t now_us)
{
    bool stopping = atomic_load(&publish->stop_asked);

    if (stopping && now_us >= atomic_load(&publish->stop_us))
        return true;
    return !publish->out && (stopping || publish->next == publish->settings.count);
}

static void turn(struct replay_publish *publish)
{
    int64_t now_us = loop_now(publish->loop), until_us = now_us + TURN_US;

    start_connector(publish, now_us);
    send_more(publish, now_us);
    receive(publish, now_us);
    share_status(publish, now_us);
    if (publish->started && publish->receive_us < until_us)
        until_us = publish->receive_us;
    if (publish->next_us > now_us && publish->next_us < until_us)
        until_us = publish->next_us;
    if (publish->retry_us > now_us && publish->retry_us < until_us)
        until_us = publish->retry_us;
    if (!is_over(publish, loop_now(publish->loop)))
        loop_turn(publish->loop, until_us);
}

/* What is confirmed leaves the store. */
static void finish_removing(struct replay_publish *publish)
{
    struct replay_remover_state removed;
    int64_t until_us = 0;

    replay_remover_finish(publish->remover);
    for (;;) {
        replay_remover_state(publish->remover, &removed);
        share_status(publish, clock_now());
        if (removed.finished)
            return;
        if (!removed.failing || !atomic_load(&publish->stop_asked))
            until_us = clock_now() + CLOCK_SECOND;
        else if (clock_now() >= until_us)
            return; /* published, and published again by the next replay */
        loop_turn(publish->loop, clock_now() + TURN_US / 5);
    }
}

static void *run(void *argument)
{
    struct replay_publish *publish = argument;

    while (!is_over(publish, clock_now()))
        turn(publish);
    if (publish->started)
        loop_unwatch(publish->loop, publish->connector->descriptor(publish->instance));
    publish->connector->close(publish->instance);
    publish->instance = NULL;
    publish->error[0] = '\0';
    while (publish->shipments)
        take_out(publish, publish->shipments);
    finish_removing(publish);
    pthread_mutex_lock(&publish->lock);
    publish->status.ended = true;
    pthread_mutex_unlock(&publish->lock);
    return NULL;
}

/* ---- its life ---- */

static int open_parts(struct replay_publish *publish, struct fault *fault)
{
    const struct mapping *mapping = publish->settings.mapping;

    if (!publish->connector->open_publisher)
        return fault_set(fault, "mapping %s: the connector %s cannot publish, so nothing goes back to "
                                "its source",
                         mapping->name, publish->connector->name);
    publish->loop = loop_new(fault);
    publish->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!publish->loop || publish->wake < 0)
        return publish->loop ? fault_set(fault, "no descriptor is left: %s", strerror(errno)) : -1;
    loop_watch(publish->loop, publish->wake, EPOLLIN, on_ready, publish);
    publish->store = dead_letter_store_sqlite_open(publish->directory, DEAD_LETTER_READ, fault);
    if (!publish->store)
        return fault->text[0] ? -1
                              : fault_set(fault, "%s: there are no dead letters", publish->directory);
    if (publish->connector->open_publisher(&publish->host, &host_api, mapping->values,
                                           &publish->instance)) {
        publish->instance = NULL;
        return fault_set(fault, "mapping %s: the connector %s refuses to publish with the options of "
                                "its source",
                         mapping->name, publish->connector->name);
    }
    publish->remover =
        replay_remover_new(publish->directory, &publish->settings.act, publish->wake, fault);
    return publish->remover ? 0 : -1;
}

struct replay_publish *replay_publish_new(const struct replay_publish_settings *settings,
                                          struct fault *fault)
{
    struct replay_publish *publish = memory_zero(1, sizeof *publish);
    int failed;

    publish->settings = *settings;
    publish->directory = memory_text(settings->state_directory);
    publish->detail = memory_text(settings->act.detail);
    publish->login = memory_text(settings->act.login);
    publish->settings.act.detail = publish->detail;
    publish->settings.act.login = publish->login;
    publish->connector = settings->mapping->connector;
    publish->host.publish = publish;
    publish->wake = -1;
    publish->shipments_end = &publish->shipments;
    publish->present.selected = publish->status.selected = settings->count;
    pthread_mutex_init(&publish->lock, NULL);
    if (open_parts(publish, fault) == 0) {
        failed = pthread_create(&publish->thread, NULL, run, publish);
        if (!failed) {
            publish->running = true;
            pthread_setname_np(publish->thread, "replay-publish");
            return publish;
        }
        fault_set(fault, "cannot start a thread: %s", strerror(failed));
    }
    replay_publish_free(publish);
    return NULL;
}

void replay_publish_stop(struct replay_publish *publish, int64_t drain_us)
{
    const uint64_t one = 1;

    atomic_store(&publish->stop_us, clock_now() + drain_us);
    atomic_store(&publish->stop_asked, true);
    if (write(publish->wake, &one, sizeof one) < 0)
        return; /* it is readable already */
}

void replay_publish_read_status(struct replay_publish *publish,
                                struct replay_publish_status *ret_status)
{
    pthread_mutex_lock(&publish->lock);
    *ret_status = publish->status;
    pthread_mutex_unlock(&publish->lock);
}

void replay_publish_free(struct replay_publish *publish)
{
    if (!publish)
        return;
    if (publish->running)
        pthread_join(publish->thread, NULL);
    if (publish->instance)
        publish->connector->close(publish->instance);
    replay_remover_free(publish->remover);
    if (publish->store)
        publish->store->ops->close(publish->store);
    loop_free(publish->loop);
    if (publish->wake >= 0)
        close(publish->wake);
    pthread_mutex_destroy(&publish->lock);
    free(publish->settings.places);
    free(publish->directory);
    free(publish->detail);
    free(publish->login);
    free(publish);
}
