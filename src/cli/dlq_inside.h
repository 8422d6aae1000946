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

/* ---- dlq.c ---- */

/* Opens the store for reading. NULL with *ret_exit: 0 where there is none yet (said, unless
 * `json`), else a sysexits code (said). */
struct dead_letter_store *dlq_open(const char *directory, bool json, int *ret_exit);

/* Says on stderr what failed. Returns EX_IOERR. */
int dlq_failed(const struct fault *fault);

/* The options by which letters are chosen. Fills `query`; values are borrowed. 0, or EX_USAGE. */
int dlq_choose_class(const struct arguments *arguments, struct dead_letter_query *query);
int dlq_choose_status(const struct arguments *arguments, struct dead_letter_query *query);
int dlq_choose_time(const struct arguments *arguments, int64_t *ret_wall_us);
int dlq_choose_limit(const struct arguments *arguments, struct dead_letter_query *query);

/* ---- dlq_list.c, dlq_show.c, dlq_stats.c: the subcommands ---- */

int dlq_list(int argc, char **argv);
int dlq_show(int argc, char **argv);
int dlq_stats(int argc, char **argv);

/* Groups as lines; `title` heads the column of values. How many there were. */
struct dlq_group {
    char *value;
    uint64_t count;
    int64_t first_wall_us, last_wall_us;
    char example_id[27];
};
struct dlq_groups {
    struct dlq_group *groups;
    size_t count;
};
int dlq_groups_read(struct dead_letter_store *store, const struct dead_letter_query *query,
                    const char *field, struct dlq_groups *ret_groups, struct fault *fault);
void dlq_groups_fini(struct dlq_groups *groups);

/* ---- dlq_json.c ---- */

/* `with_payload`: attempts, response, key, headers and payload too. */
json_t *dlq_json_letter(const struct dead_letter *letter, bool with_payload);
json_t *dlq_json_group(const struct dlq_group *group, const char *field);
/* Prints it on one line, and frees it. */
void dlq_json_print(json_t *document);

/* ---- dlq_format.c ---- */

#define DLQ_TIME 40

/* How stdout shows things. */
struct dlq_screen {
    bool terminal, colour;
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
/* `2h` (ago), `2026-11-23`, `2026-11-23 14:05[:02]` (also with T; local, or UTC with Z). 0 or -1.
 */
int dlq_parse_time(const char *text, int64_t now_us, int64_t *ret_wall_us);
/* `12,345`. */
const char *dlq_number(uint64_t number, char ret[DLQ_TIME]);

/* Payloads for people: JSON laid out, text as it is, anything else as a hex dump; not more than
 * `most` bytes of it. Says what it is: `JSON`, `text`, `binary`. */
const char *dlq_content(struct sluice_bytes bytes);
void dlq_payload(struct sluice_bytes bytes, unsigned indent, size_t most);

#endif
