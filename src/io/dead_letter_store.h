/* SPDX-License-Identifier: MIT
 * Where dead letters are kept. An interface; the local store is SQLite (WAL, synchronous=FULL). */
#ifndef IO_DEAD_LETTER_STORE_H
#define IO_DEAD_LETTER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "core/dead_letter.h"

enum dead_letter_sort { DEAD_LETTER_NEWEST, DEAD_LETTER_OLDEST, DEAD_LETTER_ATTEMPTS_MOST };
enum dead_letter_replayed { DEAD_LETTER_ANY, DEAD_LETTER_REPLAYED, DEAD_LETTER_NEVER_REPLAYED };

/* By what letters are chosen. Zero or NULL: no restriction. All pointers are borrowed. */
struct dead_letter_query {
    const char *mapping;
    const char *class_name;
    uint32_t status, status_to; /* status <= last HTTP status <= status_to; 0: exactly `status` */
    bool no_status;             /* no HTTP answer came */
    const char *error;          /* POSIX extended regular expression somewhere in the reason */
    const char *where;          /* pattern of a filter for the payload, as JSON, see core/filter.h */
    struct sluice_bytes key;
    const char *token;
    uint32_t attempts_from, attempts_to; /* attempts_to 0: no bound */
    enum dead_letter_replayed replayed;
    int64_t since_wall_us, until_wall_us; /* by dead_wall_us: since <= t < until */
    const char *id_prefix;
    enum dead_letter_sort sort; /* ATTEMPTS_MOST: at most DEAD_LETTER_SORTED letters */
    uint32_t limit;
};

#define DEAD_LETTER_SORTED   100000
#define DEAD_LETTER_SELECTED 1000000

struct dead_letter_group {
    const char *value; /* of the field grouped by, NULL: letters without a key; valid within the callback */
    size_t value_size; /* keys may hold any byte */
    uint64_t count, bytes;
    int64_t first_wall_us, last_wall_us;
    const char *example_id;
};

/* Where a letter is, and where its message was: what a replay keeps of each. */
struct dead_letter_place {
    int64_t number; /* of the letter in the store */
    int64_t lane;   /* number of its lane */
    uint64_t position;
};

#define DEAD_LETTER_NO_UID UINT32_MAX

/* Who changes letters, and what for. Texts are borrowed. */
struct dead_letter_act {
    const char *action; /* replay, edit, discard, import */
    const char *detail; /* filters or ids */
    uint32_t uid; /* DEAD_LETTER_NO_UID: not of this machine */
    const char *login;
    int64_t wall_us;
    uint64_t count;  /* letters that it was done to */
    uint64_t failed; /* of them: died again, could not be edited */
    int64_t number;  /* in the log; 0: not there yet */
};

/* A new payload of a letter. */
struct dead_letter_edit {
    int64_t number; /* of the letter in the store */
    uint32_t edits; /* that it had when it was read */
    struct sluice_bytes payload;
    bool done;
};

/* Sorts by lane and position. */
void dead_letter_places_sort(struct dead_letter_place *places, size_t count);

enum dead_letter_fate {
    DEAD_LETTER_HERE = 1, /* in the store */
    DEAD_LETTER_DONE,     /* its replay is done, or it was published back */
    DEAD_LETTER_DISCARDED,
    DEAD_LETTER_EXPIRED   /* by dead_letter.keep or the limits */
};

/* What became of a letter that was collected from a place that keeps it. */
struct dead_letter_collected {
    enum dead_letter_fate fate;
    char id[27];              /* HERE; else "" */
    uint32_t replay_count;    /* HERE: replays in which it died again, */
    int64_t replayed_wall_us; /* and the last of them, 0: none */
    int64_t ended_wall_us;    /* not HERE */
};

#define DEAD_LETTER_COLLECTED_MOST 1000000 /* newest ones that are remembered */

struct dead_letter_usage {
    uint64_t count, bytes; /* bytes of keys, payloads and headers */
};

struct dead_letter_store;

typedef int (*dead_letter_each_fn)(void *argument, const struct dead_letter *letter);

struct dead_letter_store_ops {
    /* Writes letters in one durable transaction and fills in `id` and `dead_wall_us` (0: now; moved
     * by microseconds where it is taken). A letter whose mapping, lane, position and message (token,
     * key, payload) are already there is updated and keeps its first id and time, not doubled: a
     * crash between writing and settling brings the message again. Another message at the same
     * position, as after a queue was made anew, is a letter of its own. A letter with `replay` goes
     * back to the row of its `id`: its attempts are added to those there, its replays are counted
     * up; where somebody removed the row meanwhile, nothing is written. One with `found_lane` is remembered
     * for `collected`. 0, or -1 with a fault and nothing written; ids may have been filled in. */
    int (*add)(struct dead_letter_store *store, struct dead_letter *letters, size_t count,
               struct fault *fault);
    /* Newest first unless sorted otherwise. `each` returns non-zero to stop, and asks nothing that has a
     * regular expression or a pattern: those are of one query at a time. Letters are borrowed within the
     * callback; `with_payload` 0 leaves key, payload, original and headers absent. -1
     * with a fault, also for a regular expression or a pattern that is none. */
    int (*list)(struct dead_letter_store *store, const struct dead_letter_query *query,
                int with_payload, dead_letter_each_fn each, void *argument, struct fault *fault);
    /* The letter of that number, whole. 1, or 0 where there is none, or -1 with a fault. */
    int (*read)(struct dead_letter_store *store, int64_t number, dead_letter_each_fn each,
                void *argument, struct fault *fault);
    /* Messages of letters whose numbers grow, as of one moment, in that order: what dead_letter_message
     * takes, and id, number, token, headers, edits and forced. Those that are gone are left out. `each`
     * returns non-zero to stop. Letters that lie together are read in one go. -1 with a fault. */
    int (*read_messages)(struct dead_letter_store *store, const int64_t *numbers, size_t count,
                         dead_letter_each_fn each, void *argument, struct fault *fault);
    /* Places of what the query chooses, by lane and position; at most DEAD_LETTER_SELECTED. *ret_places
     * is to be freed. */
    int (*select)(struct dead_letter_store *store, const struct dead_letter_query *query,
                  struct dead_letter_place **ret_places, size_t *ret_count, struct fault *fault);
    /* Groups by `error` (reason with numbers, ids and quoted parts folded), `class`, `status`,
     * `mapping`, `key` or `hour`; largest first. -1 with a fault that lists the fields for another
     * one. */
    int (*group)(struct dead_letter_store *store, const struct dead_letter_query *query,
                 const char *field, int (*each)(void *argument, const struct dead_letter_group *),
                 void *argument, struct fault *fault);
    /* How many letters of each group fall into each `step_us` from `since_wall_us` on, in no order.
     * Steps of whole hours are fast. */
    int (*trend)(struct dead_letter_store *store, const struct dead_letter_query *query,
                 const char *field, int64_t step_us,
                 int (*each)(void *argument, const char *value, size_t value_size,
                             uint64_t step, uint64_t count),
                 void *argument, struct fault *fault);
    int (*count)(struct dead_letter_store *store, const struct dead_letter_query *query,
                 uint64_t *ret_count, struct fault *fault);
    /* What became of the letter at a place, as collected by any mapping; of several the one that ended
     * last. 1, or 0 where it was not collected (or too long ago), or -1 with a fault. */
    int (*collected)(struct dead_letter_store *store, const char *connector, const char *lane,
                     uint64_t position, int64_t written_wall_us,
                     struct dead_letter_collected *ret_collected, struct fault *fault);
    /* How much there is of a mapping (NULL: of all). */
    int (*usage)(struct dead_letter_store *store, const char *mapping,
                 struct dead_letter_usage *ret_usage, struct fault *fault);
    /* Removes letters of `mapping` that died before `before_wall_us`, oldest first, at most `most`;
     * returns how many, or -1 with a fault. */
    int64_t (*expire)(struct dead_letter_store *store, const char *mapping, int64_t before_wall_us,
                      uint32_t most, struct fault *fault);

    /* ---- what people do with them; writers only. Each is one durable transaction, which also
     * writes or updates the line of the log if `act` is given. ---- */

    /* Removes letters by number; those whose edits are not `edits[i]` (NULL: any) stay. Returns how
     * many were removed, or -1 with a fault and nothing removed. */
    int64_t (*remove)(struct dead_letter_store *store, const int64_t *numbers,
                      const uint32_t *edits, size_t count, struct dead_letter_act *act,
                      struct fault *fault);
    /* Replaces payloads and keeps the first ones as the originals, all in one transaction. Sets `done` of
     * each: not where the letter is gone or was edited since. How many were, or -1 with a fault and none
     * changed. */
    int64_t (*edit)(struct dead_letter_store *store, struct dead_letter_edit *edits, size_t count,
                    struct dead_letter_act *act, struct fault *fault);
    /* Adds letters with the id, the time and the story they have. Those already there, by id or by
     * message, are left as they are. Returns how many were new, or -1 with a fault and none added. */
    int64_t (*import)(struct dead_letter_store *store, struct dead_letter *letters, size_t count,
                      struct dead_letter_act *act, struct fault *fault);
    /* Gives letters a token of their own for their next replay, the same one until that replay ended:
     * sets `forced`. 0, or -1 with a fault. */
    int (*force)(struct dead_letter_store *store, const int64_t *numbers, size_t count,
                 struct fault *fault);
    /* Writes or updates the line of the log. */
    int (*log)(struct dead_letter_store *store, struct dead_letter_act *act, struct fault *fault);
    /* The log, newest first. */
    int (*acts)(struct dead_letter_store *store, uint32_t limit,
                int (*each)(void *argument, const struct dead_letter_act *act), void *argument,
                struct fault *fault);
    void (*close)(struct dead_letter_store *store);
};

struct dead_letter_store {
    const struct dead_letter_store_ops *ops;
};

/* WRITE_SOON: commits survive the end of the process at once, power loss only a little later; with little
 * memory. */
enum dead_letter_access { DEAD_LETTER_READ, DEAD_LETTER_WRITE, DEAD_LETTER_WRITE_SOON };

/* Opens `directory`/dead-letters.sqlite; WRITE makes it where missing and brings one of an older
 * version up to date, as READ does where it may. A reader works beside a running writer and never
 * makes it wait; several writers take turns. NULL with a fault naming path and cure: unreadable, from
 * a newer version, damaged; or, for READ, with an empty one: there is none yet, or a writer is just
 * making it. One connection, one thread. */
struct dead_letter_store *dead_letter_store_sqlite_open(const char *directory,
                                                        enum dead_letter_access access,
                                                        struct fault *fault);

#endif
