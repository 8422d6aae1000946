/* SPDX-License-Identifier: MIT
 * What the files of `sluice dlq` share. */
#ifndef CLI_DLQ_INSIDE_H
#define CLI_DLQ_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/fault.h"
#include "cli/arguments.h"
#include "io/dead_letter_store.h"
#include "service/config.h"

/* ---- dlq.c ---- */

/* Opens the store for reading. NULL with *ret_exit: 0 where there is none yet (said, unless
 * `json`), else a sysexits code (said). */
struct dead_letter_store *dlq_open(const char *directory, bool json, int *ret_exit);

/* Says on stderr what failed. Returns EX_IOERR. */
int dlq_failed(const struct fault *fault);

/* Opens the store to change it; one that is not there is said, and DLQ_EXIT_NONE. NULL with *ret_exit. */
struct dead_letter_store *dlq_open_writer(const char *directory, int *ret_exit);

/* The configuration of `--config` (NULL: the usual one). NULL after saying what is wrong with it. */
struct configuration *dlq_configuration(const char *config, const struct overrides *overrides);

/* Exit codes of our own, beside those of sysexits.h. */
enum { DLQ_EXIT_NONE = 1, DLQ_EXIT_SOME = 2 };

/* Whether there is a terminal to ask on, or `yes` was given: EX_OK, else says so and EX_USAGE. */
int dlq_can_ask(const char *command, bool yes);

/* Asks on the terminal, on stderr, where there is one. */
bool dlq_ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Asks on the terminal, on stderr. Where there is none, `yes` must have been given: says so. EX_OK to
 * go on; else what to return. */
int dlq_confirm(const char *command, bool yes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Who acts, for the log: fills uid, login (to be freed) and time. */
void dlq_who(struct dead_letter_act *act);

/* ---- the subcommands, one file each ---- */

int dlq_list(int argc, char **argv);
int dlq_show(int argc, char **argv);
int dlq_stats(int argc, char **argv);
int dlq_discard(int argc, char **argv);
int dlq_export(int argc, char **argv);
int dlq_import(int argc, char **argv);
int dlq_edit(int argc, char **argv);
int dlq_log(int argc, char **argv);
int dlq_replay(int argc, char **argv);
int dlq_follow(int argc, char **argv);
int dlq_browse(int argc, char **argv);

/* Groups as lines; `title` heads the column of values. How many there were. */
struct dlq_group {
    char *value; /* NULL: letters without a key */
    size_t value_size;
    uint64_t count, bytes;
    int64_t first_wall_us, last_wall_us;
    char example_id[27];
    uint64_t *trend; /* DLQ_TREND of them once dlq_groups_trend was asked, oldest first */
};
struct dlq_groups {
    struct dlq_group *groups;
    size_t count;
};
int dlq_groups_read(struct dead_letter_store *store, const struct dead_letter_query *query,
                    const char *field, struct dlq_groups *ret_groups, struct fault *fault);
/* How the groups are spread over the time from `query`'s since to its until, both set. */
int dlq_groups_trend(struct dead_letter_store *store, const struct dead_letter_query *query,
                     const char *field, int64_t step_us, struct dlq_groups *groups,
                     struct fault *fault);
void dlq_groups_fini(struct dlq_groups *groups);

/* ---- dlq_json.c ---- */

/* `with_payload`: attempts, response, key, headers and payload too. */
json_t *dlq_json_letter(const struct dead_letter *letter, bool with_payload);
json_t *dlq_json_group(const struct dlq_group *group, const char *field);
/* A string where it is UTF-8, {"base64": ...} where not, null where absent: nothing is lost. */
json_t *dlq_json_bytes(struct sluice_bytes bytes);
/* RFC 3339, null for 0. */
json_t *dlq_json_time(int64_t wall_us);
/* Prints it on one line, and frees it. */
void dlq_json_print(json_t *document);

/* ---- dlq_format.c ---- */

#define DLQ_TIME  40
#define DLQ_TREND 12 /* steps of a sparkline */

/* How stdout shows things. */
struct dlq_screen {
    bool terminal, colour, utf8;
    unsigned width; /* columns; UINT_MAX where nobody looks */
    int64_t now_us; /* wall */
};

struct dlq_screen dlq_screen(void);
/* `bold`, `dim`, `red` or `plain`; nothing without colour. */
void dlq_style(const struct dlq_screen *screen, const char *style);

/* Prints text on one line, at most `width` characters, the last ones as "..." where it is cut.
 * Control characters, changes of writing direction and what is not UTF-8 are shown, not obeyed.
 * Returns the characters printed. */
unsigned dlq_line(const char *text, size_t size, unsigned width);
/* An error as dlq_line prints it; where it does not fit, without what most of them begin with. */
void dlq_error(const char *text, unsigned width);
/* Prints text of several lines, each with `indent` spaces before; as above but for newlines. */
void dlq_block(const char *text, size_t size, unsigned indent);
/* Prints spaces up to `width` after `printed` characters, and two more. */
void dlq_pad(unsigned printed, unsigned width);
/* Characters that dlq_line prints for all of it. */
unsigned dlq_width(const char *text);

/* `12s`, `5m`, `3h`, `12d`: how long ago. */
const char *dlq_ago(const struct dlq_screen *screen, int64_t wall_us, char ret[DLQ_TIME]);
/* `2026-11-23 14:05:02`, local. */
const char *dlq_time(int64_t wall_us, char ret[DLQ_TIME]);
/* RFC 3339, UTC, microseconds. */
const char *dlq_timestamp(int64_t wall_us, char ret[DLQ_TIME]);
/* `2h` (ago), `14:05` (when it was that last), `2026-11-23`, `2026-11-23 14:05[:02[.25]]`, also with T;
 * local, or by the Z or the offset at the end. 0 or -1. */
int dlq_parse_time(const char *text, int64_t now_us, int64_t *ret_wall_us);
/* Prints a bar for each number, highest full. */
void dlq_spark(const struct dlq_screen *screen, const uint64_t *numbers, size_t count);
/* `12,345`. */
const char *dlq_number(uint64_t number, char ret[DLQ_TIME]);

/* Payloads for people: JSON laid out, text as it is, anything else as a hex dump; not more than
 * `most` bytes of it. Says what it is: `JSON`, `text`, `binary`. */
const char *dlq_content(struct sluice_bytes bytes);
void dlq_payload(struct sluice_bytes bytes, unsigned indent, size_t most);

#endif
