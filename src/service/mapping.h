/* SPDX-License-Identifier: MIT
 * A mapping and the service's own settings, as read and checked from files. Read-only once made. */
#ifndef SERVICE_MAPPING_H
#define SERVICE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/option.h>

#include "base/log.h"
#include "core/letter_story.h"
#include "core/settings.h"
#include "io/http_client.h"
#include "service/recorder_limits.h"

struct filter;
struct sluice_connector;
struct sluice_values;

/* Where dead letters go in place of the state directory. */
struct letters_to {
    const struct sluice_connector *connector; /* NULL: nowhere else */
    struct sluice_values *values;             /* its options */
    bool is_source; /* those are the source's own, with `name` for its topic or queue */
    char *name;     /* NULL: as the options say */
    char *text;     /* for people: `kafka letters` */
    unsigned styles; /* LETTER_KAFKA_CONNECT and its kin */
    enum letter_format format;
};

struct mapping {
    char *name;        /* file name without its ending, [a-z0-9][a-z0-9-]*, at most 63 */
    char *file;        /* path as given */
    char revision[17]; /* hex digest of the effective mapping, secrets left out */
    uint64_t identity[2]; /* of all that it consists of, with secrets and the contents of files */
    const struct sluice_connector *connector;
    struct sluice_values *values;   /* the connector's options */
    uint32_t capabilities;          /* of the connector, with these options */
    struct sluice_values *settings; /* the mapping's own keys, by mapping_table, as written */
    char *
        source_group; /* what no other mapping may share: `kafka brokers topic group`; NULL: none */
    uint32_t pollers;
    struct rules rules;
    struct filter *filter;  /* NULL: it takes all */
    char *filter_text;      /* as compact JSON; NULL with it */
    bool keeps_filtered;    /* `on_filtered: dead_letter` */
    bool collects;          /* `receive: dead_letters` */
    struct http_settings target;
    int64_t dead_letter_keep_us; /* 0: for ever */
    struct recorder_limits dead_letter_limits;
    struct letters_to letters_to;
    int64_t drain_us;            /* how long a stop waits for what is in flight */
};

/* The control interface over TCP; all NULL where it is off. */
struct control_http_settings {
    char *listen;
    char *token;                 /* NULL: a client certificate is enough */
    struct http_server_tls *tls; /* NULL: without TLS */
};

/* Where spans of invocations are sent. */
struct trace_settings {
    struct http_settings http; /* its url NULL: nowhere */
    double sample;             /* share of traces that are kept, 0..1 */
};

/* What usage costs, in whatever currency. */
struct prices {
    bool set; /* there are any */
    char currency[16];
    double invocation, second, message, gigabyte; /* each */
};

struct service_settings {
    char *state_directory;
    char *connector_directory; /* NULL: the built-in search path */
    char *control;             /* path of the control socket */
    char *listen;              /* `127.0.0.1:9090`, `unix:/path`; NULL: no listener */
    struct control_http_settings control_http;
    enum log_level log_level;
    enum log_format log_format;
    uint64_t memory;    /* bytes that messages of all mappings may hold; 0: unset */
    size_t store_bytes; /* how large the token store may grow */
    struct prices prices;
    struct trace_settings traces;
    uint32_t metric_lanes; /* lanes of a mapping that have series of their own */
};

struct configuration {
    struct service_settings service;
    struct mapping **mappings; /* sorted by name */
    size_t mapping_count;
};

/* Every key of a mapping file but those within `source`: what parsing, defaults, messages, the
 * explanation and the manual know of it. Ends with a NULL name. */
extern const struct sluice_option mapping_table[];

/* Whether one can run on in place of the other: all that they were read from is equal. */
bool mapping_same(const struct mapping *one, const struct mapping *other);

void mapping_free(struct mapping *mapping); /* NULL is fine */

/* What a connector can do with these values; what comes with an operation only where it has that. */
uint32_t mapping_capabilities(const struct sluice_connector *connector,
                              const struct sluice_values *values);

/* Whether certificates of the source's brokers go unchecked (`tls.verify: false`). */
bool mapping_trusts_any_source(const struct mapping *mapping);
/* The same of the place that its dead letters go to. */
bool mapping_trusts_any_place(const struct mapping *mapping);

/* What kind of source it is: the connector's name or, of a connector with several, its `dialect`. */
const char *mapping_kind(const struct mapping *mapping);

/* What the envelope calls the servers: the source's brokers, as configured; "" where it has none. To be
 * freed. */
char *mapping_servers(const struct mapping *mapping);

#endif
