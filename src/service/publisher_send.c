/* SPDX-License-Identifier: MIT
 * Letters to the connector, and what becomes of them. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/dead_letter_store_id.h"
#include "service/host_nothing.h"
#include "service/options.h"
#include "service/publisher_inside.h"
#include "service/state_name.h"

#define RETRY_FIRST_US (500 * CLOCK_MS)
#define RETRY_MOST_US  (30 * CLOCK_SECOND)
#define KEEP_RETRY_US  CLOCK_SECOND
#define BODY_MOST      ((size_t)1 << 30)

/* ---- outcomes ---- */

static void let_go(struct parcel *parcel)
{
    letter_story_fini(&parcel->story);
    buffer_fini(&parcel->body);
}

static void fail(struct publisher *publisher, const char *error)
{
    int64_t now_us = clock_now(), pause_us = RETRY_FIRST_US;

    publisher->present.failures++;
    publisher->failing = true;
    snprintf(publisher->error, sizeof publisher->error, "%s", error);
    publisher_note_error(publisher, error);
    if (now_us < publisher->retry_us)
        return; /* one of several that failed together */
    for (unsigned i = 0; i < publisher->failures && pause_us < RETRY_MOST_US; i++)
        pause_us *= 2;
    if (pause_us > RETRY_MOST_US)
        pause_us = RETRY_MOST_US;
    publisher->failures++;
    publisher->retry_us = now_us + pause_us;
}

static void finish(struct publisher *publisher, struct parcel *parcel)
{
    parcel->state = PARCEL_DONE;
    parcel->task->left--;
    publisher->present.published++;
    publisher->failures = 0;
    publisher->retry_us = 0;
    publisher->failing = false;
}

static void host_published(struct sluice_host *host, void *cookie, const char *error)
{
    struct publisher *publisher = host->publisher;
    struct parcel *parcel = cookie;

    let_go(parcel);
    parcel->state = PARCEL_WAITING;
    if (error)
        fail(publisher, error);
    else
        finish(publisher, parcel);
}

static void tell_kept(const struct publisher *publisher, const struct parcel *parcel,
                      const char *error, const char *effect)
{
    log_event(LOG_WARNING, "dead_letter_kept", LOG_TEXT("mapping", publisher->mapping->name),
              LOG_TEXT("place", publisher->to->text), LOG_TEXT("id", parcel->letter->id),
              LOG_TEXT("error", error), LOG_TEXT("effect", effect));
}

/* The place will never take it. */
static void give_up(struct publisher *publisher, struct parcel *parcel, const char *error)
{
    let_go(parcel);
    publisher_note_error(publisher, error);
    if (parcel->kept) {
        tell_kept(publisher, parcel, error,
                  "it is whole in the state directory, and the place does not even take word of it");
        finish(publisher, parcel);
        return;
    }
    parcel->state = PARCEL_TO_KEEP;
    parcel->why = memory_text(error);
}

static void host_unpublishable(struct sluice_host *host, void *cookie, const char *error)
{
    give_up(host->publisher, cookie, error);
}

/* ---- sending ---- */

/* The same however often it is tried, so that whoever reads the place knows a letter again. */
static void name_letter(struct publisher *publisher, struct dead_letter *letter)
{
    if (letter->id[0])
        return;
    publisher->sequence[0] = publisher->sequence[0] * UINT64_C(6364136223846793005) + 1442695040888963407u;
    publisher->sequence[1] ^= publisher->sequence[0] >> 7;
    dead_letter_store_id_write(letter->dead_wall_us, publisher->sequence, letter->id);
}

static struct sluice_bytes body_of(struct publisher *publisher, struct parcel *parcel)
{
    if (parcel->kept && !publisher->place.lacks_headers)
        return (struct sluice_bytes){"", 0};
    if (!parcel->kept && publisher->to->format == LETTER_MESSAGE)
        return parcel->letter->payload;
    buffer_init(&parcel->body, BODY_MOST);
    if (parcel->kept)
        letter_word_write(&parcel->body, &parcel->story);
    else
        letter_aws_write(&parcel->body, parcel->letter, &publisher->place);
    return (struct sluice_bytes){parcel->body.data, parcel->body.size};
}

/* What is cut must not go out. */
static const char *why_cut(const struct parcel *parcel)
{
    if (parcel->story.text.full)
        return "its key and its story would be more than 16 MiB of headers";
    return parcel->body.full ? "AWS's record of it would be larger than 1 GiB" : NULL;
}

/* False: the connector takes no more now. */
static bool send(struct publisher *publisher, struct parcel *parcel)
{
    struct sluice_publication publication = {.destination = publisher->to->name, .cookie = parcel};
    const char *cut;

    name_letter(publisher, parcel->letter);
    letter_story_write(&parcel->story, parcel->letter, &publisher->place,
                       parcel->kept ? publisher->host_name : NULL);
    publication.headers = parcel->story.headers;
    publication.header_count = parcel->story.count;
    publication.payload = body_of(publisher, parcel);
    cut = why_cut(parcel);
    if (cut) {
        give_up(publisher, parcel, cut);
        return true;
    }
    if (publisher->place.keeps_keys && !parcel->kept)
        publication.key = parcel->letter->key;
    parcel->state = PARCEL_SENT;
    if (!publisher->connector->publish(publisher->instance, &publication))
        return true;
    parcel->state = PARCEL_WAITING;
    let_go(parcel);
    return false;
}

void publisher_send(struct publisher *publisher, int64_t now_us)
{
    if (!publisher->started || now_us < publisher->retry_us)
        return;
    for (struct task *task = publisher->tasks; task; task = task->next)
        for (size_t i = 0; task->left && i < task->job->letter_count; i++)
            if (task->parcels[i].state == PARCEL_WAITING && !send(publisher, &task->parcels[i]))
                return;
}

/* ---- what does not fit ---- */

void publisher_keep(struct publisher *publisher, int64_t now_us)
{
    struct parcel *parcel = NULL;

    if (publisher->keeping || now_us < publisher->keep_us)
        return;
    for (struct task *task = publisher->tasks; task && !parcel; task = task->next)
        for (size_t i = 0; !parcel && i < task->job->letter_count; i++)
            if (task->parcels[i].state == PARCEL_TO_KEEP)
                parcel = &task->parcels[i];
    if (!parcel)
        return;
    parcel->state = PARCEL_KEEPING;
    publisher->keeping = parcel;
    publisher->keep_letter = *parcel->letter;
    publisher->keep_job = (struct record_job){.reply_to = &publisher->mailbox,
                                              .letters = &publisher->keep_letter,
                                              .letter_count = 1};
    recorder_submit(publisher->recorder, &publisher->keep_job);
}

void publisher_kept(struct publisher *publisher, int64_t now_us)
{
    struct parcel *parcel = publisher->keeping;

    publisher->keeping = NULL;
    if (publisher->keep_job.failed) {
        parcel->state = PARCEL_TO_KEEP;
        publisher->keep_us = now_us + KEEP_RETRY_US;
        publisher->failing = true;
        snprintf(publisher->error, sizeof publisher->error, "%.300s", publisher->keep_job.fault.text);
        publisher_note_error(publisher, publisher->error);
        return;
    }
    memcpy(parcel->letter->id, publisher->keep_letter.id, sizeof parcel->letter->id);
    parcel->state = PARCEL_WAITING;
    parcel->kept = true;
    publisher->present.kept++;
    tell_kept(publisher, parcel, parcel->why,
              "it is kept in the state directory; a letter in its place tells where");
    free(parcel->why);
    parcel->why = NULL;
}

/* ---- the connector's host ---- */

static void host_log(struct sluice_host *host, uint32_t level, const char *event, const char *text)
{
    log_event((enum log_level)level, event,
              LOG_TEXT("mapping", host->publisher->mapping->name),
              LOG_TEXT("place", host->publisher->to->text), LOG_TEXT("text", text));
}

static void host_state(struct sluice_host *host, uint32_t state, const char *text)
{
    struct publisher *publisher = host->publisher;
    struct publisher_status *present = &publisher->present;
    char before[sizeof present->state_text];

    if (state == 0 || state > SLUICE_STATE_FAILED)
        state = SLUICE_STATE_FAILED;
    memcpy(before, present->state_text, sizeof before);
    snprintf(present->state_text, sizeof present->state_text, "%s", text ? text : "");
    if (present->state == state && strcmp(present->state_text, before) == 0)
        return;
    if (present->state != state)
        present->state_wall_us = clock_wall();
    present->state = state;
    if (text)
        publisher_note_error(publisher, text);
    log_event(text ? LOG_WARNING : LOG_INFO, "place_state",
              LOG_TEXT("mapping", publisher->mapping->name), LOG_TEXT("place", publisher->to->text),
              LOG_TEXT("state", state_name(state)), LOG_TEXT("text", text));
}

/* An instance that only publishes has no lanes and no messages. */
static void ignore_messages(struct sluice_host *host, const struct sluice_message *messages,
                            size_t count)
{
    log_event(LOG_ERROR, "unexpected_messages", LOG_TEXT("mapping", host->publisher->mapping->name),
              LOG_TEXT("error", "a connector that was only to publish delivers messages"));
}

const struct sluice_host_api publisher_host_api = {
    .struct_size = sizeof(struct sluice_host_api),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .values = &options_api,
    .log = host_log,
    .state = host_state,
    .lane_opened = host_nothing_lane_opened,
    .lane_closing = host_nothing_lane,
    .lane_lost = host_nothing_lane,
    .deliver = ignore_messages,
    .settled = host_nothing_settled,
    .published = host_published,
    .stopped = host_nothing_stopped,
    .settle_failed = host_nothing_settle_failed,
    .unpublishable = host_unpublishable,
};
