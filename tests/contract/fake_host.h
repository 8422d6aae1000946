/* SPDX-License-Identifier: MIT
 * A host for connectors under test: loads a plugin as sluice does, gives it options, drives it from
 * one thread, and watches that it keeps to the ABI. What breaks the ABI fails the test at the next
 * wait, with a text that says what was found. */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include <sluice/connector.h>

#define HOST_SECOND  INT64_C(1000000)
#define HOST_FOREVER (SIZE_MAX / 4)

/* A message as it is sent or as it arrived; bytes are copies. */
struct record {
    struct sluice_bytes key, payload;
    struct sluice_header *headers;
    size_t header_count;
};

struct host_message {
    size_t lane; /* index into host.lanes */
    uint64_t position;
    void *handle; /* NULL once released */
    bool settled;
    struct record record;
    uint32_t timestamp_kind;
};

/* One generation of a lane; a lane that comes again is another one. */
struct host_lane {
    char name[300];
    void *cookie; /* the connector's */
    bool closing, lost;
    uint64_t told;      /* source: everything before is settled; 0: nothing told */
    bool any;           /* something was delivered */
    uint64_t newest;    /* delivered last */
    size_t delivered;
};

struct host_option {
    const char *name, *key; /* key: of an entry of a MAP, else NULL */
    char *value;
};

struct sluice_values {
    struct sluice_host *host;
};

struct sluice_host {
    struct sluice_values values;
    const struct sluice_connector *connector;
    struct host_option options[64];
    size_t option_count;
    char refused[512]; /* by `refuse` */

    void *instance;
    struct sluice_room room; /* for the next receives */
    struct sluice_room left; /* of the receive under way */
    bool receiving, closing_all, started, stopped;
    bool publishes;   /* is opened by `open_publisher`; there is never room */
    bool keep;        /* messages are not released before they are settled */
    bool drain_later; /* `lane_drained` is the test's to call */
    uint64_t receives;
    int64_t longest_us; /* operation */
    int64_t due_us;     /* when receive is due */

    struct host_lane *lanes;
    size_t lane_count;
    struct host_message *messages;
    size_t message_count;

    uint32_t state;
    char state_text[512];
    unsigned states_seen; /* bit of each */
    unsigned published, unpublished, unpublishable; /* the last is part of the second */
    char publish_error[512];

    char violation[512];
};

int64_t host_now(void);
/* Microseconds times what sanitizers and slow machines need (SLUICE_TEST_PATIENCE). */
int64_t host_patience(int64_t us);

/* Loads `sluice-NAME.so` from $SLUICE_BUILD/connectors. Fails the test where it cannot. */
const struct sluice_connector *host_load(const char *name);

/* A host for one instance of the connector; options are set before `host_open`. */
struct sluice_host *host_new(const struct sluice_connector *connector);
void host_option(struct sluice_host *host, const char *name, const char *value);
void host_property(struct sluice_host *host, const char *map, const char *key, const char *value);
/* What an instance with the options that were set can do: SLUICE_CAN_ and the like. */
uint32_t host_can(const struct sluice_host *host);
/* 0 or what `open` returned. */
int host_open(struct sluice_host *host);
void host_start(struct sluice_host *host, const char *name);
/* `open` and `start`, which must work. */
void host_run(struct sluice_host *host, const char *name);
/* Calls `close` where it is open, frees everything. All messages must have been released. */
void host_free(struct sluice_host *host);

/* Turns all hosts until `done` says so; fails the test after `timeout_us` (times patience), naming
 * `what`. */
typedef bool (*host_done_fn)(void *argument);
void hosts_until(struct sluice_host **hosts, size_t count, host_done_fn done, void *argument,
                 int64_t timeout_us, const char *what);
/* Turns them for this long; fails the test if `done` becomes true. NULL: nothing is watched. */
void hosts_stay(struct sluice_host **hosts, size_t count, host_done_fn done, void *argument,
                int64_t time_us, const char *what);
/* One turn, waiting at most `wait_us`. */
void hosts_turn(struct sluice_host **hosts, size_t count, int64_t wait_us);

void host_wait_messages(struct sluice_host *host, size_t count);
void host_wait_state(struct sluice_host *host, uint32_t state);
size_t host_open_lanes(const struct sluice_host *host);

/* With SLUICE_NEEDS_POSITION: where the lane goes on, as all hosts of this process have recorded it; 0 where
 * they have not. */
uint64_t host_recorded(const char *lane);

/* Settles one message and all before it in its lane, or each alone, as the connector can. Returns
 * the result of the item. */
uint32_t host_settle(struct sluice_host *host, size_t message);
/* Gives one message back, to be delivered again after the delay. */
void host_give_back(struct sluice_host *host, size_t message, int64_t delay_us);
void host_settle_all(struct sluice_host *host);
void host_release(struct sluice_host *host, size_t message);

/* `stop`, then `receive` until stopped; fails if that takes longer than the deadline and a second. */
void host_stop(struct sluice_host *host, int64_t deadline_us);

/* Two records are the same, null and empty told apart. */
bool record_same(const struct record *a, const struct record *b);
void record_free(struct record *record);

#endif
