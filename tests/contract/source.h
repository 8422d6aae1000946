/* SPDX-License-Identifier: MIT
 * What the contract's cases need of a kind of server. Each connector's test has one of these. */
#ifndef SOURCE_H
#define SOURCE_H

#include "fake_host.h"

struct source; /* a server, and one topic or queue with a consumer group or the like */

struct source_kind {
    const char *connector;
    const char *prefix; /* of the names of its cases, where a program has several kinds */
    unsigned lanes; /* how many a source has */
    bool headers_repeat; /* a message may have two of the same name */
    bool headers_are_text, no_empty; /* no other values; no payloads without a byte */
    const char *const *own_headers; /* that the server adds to messages; NULL ends, NULL: none */
    bool silent; /* without a connection that stays, only a request tells that the server is away */
    bool keyless; /* cases give no keys, as each would be a lane of its own */
    /* Starts a server of its own for the case. */
    struct source *(*start)(void);
    void (*stop)(struct source *source);
    /* What a mapping has to say to read this source; quick where it can be. */
    void (*options)(struct source *source, struct sluice_host *host);
    /* Sends, and returns when the server has them. `lane` < lanes. */
    void (*produce)(struct source *source, unsigned lane, const struct record *records,
                    size_t count);
    /* How many messages the server holds that are not settled. */
    size_t (*unsettled)(struct source *source);
    /* Reads the next message of `destination` (one that exists) by other means than the connector;
     * false when none comes. The record is the caller's. */
    bool (*read)(struct source *source, const char *destination, struct record *ret_record);
    /* A destination for publications that is there, and one that is not, or that refuses the next
     * publication once `refuse` (may be NULL) was called. */
    const char *destination, *no_destination;
    void (*refuse)(struct source *source);
    /* The server goes away, connections and all, and comes back with what it had. */
    void (*down)(struct source *source);
    void (*up)(struct source *source);
};

#endif
