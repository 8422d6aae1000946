/* SPDX-License-Identifier: MIT
 * By which letters the subcommands of `sluice dlq` choose: one set of options for all of them. */
#ifndef CLI_DLQ_CHOICE_H
#define CLI_DLQ_CHOICE_H

#include <stdbool.h>

#include "base/fault.h"
#include "cli/arguments.h"
#include "io/dead_letter_store.h"

/* The shared options come first in a subcommand's table; its own follow from DLQ_OWN on. */
enum {
    DLQ_MAPPING,
    DLQ_CLASS,
    DLQ_STATUS,
    DLQ_ERROR,
    DLQ_WHERE,
    DLQ_KEY,
    DLQ_TOKEN,
    DLQ_SINCE,
    DLQ_UNTIL,
    DLQ_ATTEMPTS,
    DLQ_REPLAYED,
    DLQ_NEVER_REPLAYED,
    DLQ_SORT,
    DLQ_LIMIT,
    DLQ_JSON,
    DLQ_STATE,
    DLQ_OWN
};

#define DLQ_OPTIONS                                                                                \
    [DLQ_MAPPING] = {"mapping", 'm', "NAME", "Only letters of this mapping."},                     \
    [DLQ_CLASS] = {"class", 'c', "CLASS", "Only letters of this class, such as poison."},          \
    [DLQ_STATUS] = {"status", 's', "CODE", "Only with this last HTTP status: 500, 4xx, none."},    \
    [DLQ_ERROR] = {"error", 'e', "REGEX", "Only where the reason matches (extended regex)."},      \
    [DLQ_WHERE] = {"where", 'w', "PATTERN", "Only where the payload matches: '{status: [paid]}'."},    \
    [DLQ_KEY] = {"key", 'k', "KEY", "Only messages with this key; hex:6b00 for binary ones."},     \
    [DLQ_TOKEN] = {"token", 't', "TOKEN", "Only the message with this idempotency token."},        \
    [DLQ_SINCE] = {"since", 0, "TIME", "Only letters that died since: 2h, 2026-11-23 14:00."},     \
    [DLQ_UNTIL] = {"until", 0, "TIME", "Only letters that died before then."},                     \
    [DLQ_ATTEMPTS] = {"attempts", 0, "RANGE", "Only with so many attempts: 5, 3.., ..9, 3..9."},   \
    [DLQ_REPLAYED] = {"replayed", 0, NULL, "Only letters that died again in a replay."},           \
    [DLQ_NEVER_REPLAYED] = {"never-replayed", 0, NULL, "Only letters that did not."},              \
    [DLQ_SORT] = {"sort", 0, "ORDER", "newest, oldest or attempts first."},                        \
    [DLQ_LIMIT] = {"limit", 'n', "COUNT", "At most so many; 0: all."},                             \
    [DLQ_JSON] = {"json", 'j', NULL, "Print JSON, one object a line."},                            \
    [DLQ_STATE] = {"state", 0, "DIR", "State directory, where the service has an unusual one."}

/* What was chosen. Zeroed before; values are borrowed from the command line. */
struct dlq_choice {
    struct dead_letter_query query;
    const char *state;
    bool json;
    bool filtered;     /* by anything but --limit and --sort */
    unsigned given;    /* a bit for each filter that was */
    char *key;         /* decoded */
    char *where;       /* as JSON */
    char *const *ids;  /* operands */
    int id_count;
};

/* Takes a shared option. EX_OK, or EX_USAGE after saying what is wrong. */
int dlq_choice_option(struct dlq_choice *choice, const struct arguments *arguments, int option);
/* At most one operand, a mapping's name. */
int dlq_choice_mapping(struct dlq_choice *choice, const struct arguments *arguments);
/* Operands are ids or their beginnings. */
int dlq_choice_ids(struct dlq_choice *choice, const struct arguments *arguments);
void dlq_choice_fini(struct dlq_choice *choice);

/* Says that nothing matches, but with --json; where no letter is of the mapping that was chosen, it may be
 * misspelt: also of which there are some. `store` may be NULL. Returns DLQ_EXIT_NONE. */
int dlq_choice_none(const struct dlq_choice *choice, struct dead_letter_store *store);

/* The choice as it may be typed again, for the log: `--mapping orders --status 4xx`. To be freed. */
char *dlq_choice_text(int argc, char **argv);

/* The letter whose id begins so. EX_OK; EX_DATAERR after saying that there is none, or several;
 * EX_IOERR. */
int dlq_find(struct dead_letter_store *store, const char *command, const char *prefix,
             char ret_id[27]);

/* Each letter that was chosen: by ids, or by filters. EX_OK or what dlq_find returns. */
int dlq_choice_each(const struct dlq_choice *choice, struct dead_letter_store *store,
                    const char *command, int with_payload, dead_letter_each_fn each,
                    void *argument);
/* How many were chosen. */
int dlq_choice_count(const struct dlq_choice *choice, struct dead_letter_store *store,
                     const char *command, uint64_t *ret_count);

#endif
