/* SPDX-License-Identifier: MIT
 * Structured log: one line an event. Human-readable on a terminal, JSON or logfmt otherwise. Where
 * the journal reads stderr (systemd.exec(5), JOURNAL_STREAM), it gets the fields apart as well:
 * SLUICE_EVENT, MAPPING, and each other with SLUICE_ before its name in capitals.
 *
 *   log_event(LOG_WARNING, "invocation_failed", LOG_TEXT("mapping", name), LOG_NUMBER("status", 500));
 *
 * Logged once, at the edge where the context is: base/, core/ and io/ return faults and do not log;
 * service/ and cli/ do. Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 1, LOG_WARNING, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_AUTO, LOG_HUMAN, LOG_JSON, LOG_LOGFMT };

struct log_field {
    const char *name; /* snake_case */
    const char *text; /* NULL: `number` holds the value */
    int64_t number;
    int is_unsigned; /* the number's 64 bits have no sign */
};

/* A function, because compilers warn where an array is compared with NULL. */
static inline const char *log_text_or_empty(const char *text)
{
    return text ? text : "";
}

#define LOG_TEXT(name_, text_)     ((struct log_field){name_, log_text_or_empty(text_), 0, 0})
#define LOG_NUMBER(name_, number_) ((struct log_field){name_, NULL, number_, 0})
#define LOG_UNSIGNED(name_, number_) ((struct log_field){name_, NULL, (int64_t)(number_), 1})

/* Once, before other threads start. AUTO: human if stderr is a terminal, else logfmt. Default:
 * level INFO, AUTO, to stderr. */
void log_setup(enum log_level level, enum log_format format);

/* What the journal's catalog knows an event by: 128 bits as 32 hexadecimal digits. */
struct log_message_id {
    const char *event; /* NULL ends the table */
    const char *id;
};
/* Once, before other threads start. The table is borrowed. */
void log_set_message_ids(const struct log_message_id *ids);

/* Any thread, at any time. */
void log_set_level(enum log_level level);

/* Whether a line of this level would be written; for work done only to log. */
int log_enabled(enum log_level level);

/* `event` is a constant in snake_case, the same for all lines of its kind. Lines with the same
 * event, mapping and `error` field are limited to 5 within 10 s; the first line after that says how
 * many were left out. Control characters in texts are escaped. */
void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);

#define log_event(level_, event_, ...)                                                             \
    do {                                                                                           \
        if (log_enabled(level_)) {                                                                 \
            const struct log_field fields_[] = {__VA_ARGS__};                                      \
            log_write(level_, event_, fields_, sizeof fields_ / sizeof fields_[0]);                \
        }                                                                                          \
    } while (0)

#endif
