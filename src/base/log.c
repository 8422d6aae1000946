/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/journal.h"

#define LINE_MOST     8192 /* bytes; what is beyond is cut */
#define LINE_END      8    /* room for what ends it */
#define VALUE_MOST    2048
#define ENTRY_MOST    (3 * LINE_MOST) /* bytes of the journal's native fields, the line among them */
#define NAME_MOST     64              /* of such a field: systemd.journal-fields(7) */
#define REPEATS       5 /* lines of one kind within PERIOD */
#define PERIOD        (10 * CLOCK_SECOND)
#define KINDS         256 /* of lines kept apart; the one unused longest makes room */
#define KINDS_PER_SET 4

struct line {
    char *text; /* of the caller */
    size_t size, most;
};

/* How often lines of one kind (event, mapping, error) were written lately. */
struct kind {
    uint64_t hash;
    int64_t since_us, used_us;
    unsigned written;
    uint64_t left_out;
};

static struct {
    _Atomic enum log_level level;
    enum log_format format;
    bool colour;
    bool priority; /* the journal reads stderr: it has the time and wants the level as a number */
    const struct log_message_id *ids;
} setup = {.level = LOG_INFO, .format = LOG_AUTO};

static pthread_mutex_t kinds_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kind kinds[KINDS];
static pthread_once_t defaults_once = PTHREAD_ONCE_INIT;

static void settle_format(void)
{
    bool terminal = isatty(STDERR_FILENO);
    const char *no_colour = getenv("NO_COLOR"); /* no-color.org */
    const char *kind = getenv("TERM");

    if (setup.format == LOG_AUTO)
        setup.format = terminal ? LOG_HUMAN : LOG_LOGFMT;
    setup.colour = setup.format == LOG_HUMAN && terminal && !(no_colour && *no_colour) &&
                   !(kind && strcmp(kind, "dumb") == 0);
    setup.priority = setup.format != LOG_HUMAN && journal_reads(STDERR_FILENO);
}

void log_setup(enum log_level level, enum log_format format)
{
    setup.level = level;
    setup.format = format;
    settle_format();
}

void log_set_message_ids(const struct log_message_id *ids)
{
    setup.ids = ids;
}

void log_set_level(enum log_level level)
{
    setup.level = level;
}

int log_enabled(enum log_level level)
{
    return level <= setup.level;
}

/* ---- lines ---- */

static void add(struct line *line, const char *text, size_t size)
{
    if (size > line->most - line->size)
        size = line->most - line->size;
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void add_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

/* Bytes of the well-formed UTF-8 character at `text`, 0 where it is none or a control character
 * (C0, DEL, C1, line and paragraph separator, changes of writing direction). Unicode 15, table 3-7.
 */
static size_t printable(const unsigned char *text, size_t size)
{
    uint32_t code;
    size_t length;

    if (text[0] < 0x80)
        return text[0] >= 0x20 && text[0] != 0x7f;
    if (text[0] >= 0xc2 && text[0] <= 0xdf)
        length = 2, code = text[0] & 0x1fu;
    else if (text[0] >= 0xe0 && text[0] <= 0xef)
        length = 3, code = text[0] & 0x0fu;
    else if (text[0] >= 0xf0 && text[0] <= 0xf4)
        length = 4, code = text[0] & 0x07u;
    else
        return 0;
    if (length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3fu);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code <= 0xdfff) || code < 0xa0 || (code >= 0x2028 && code <= 0x202e) ||
        (code >= 0x2066 && code <= 0x2069))
        return 0;
    return length;
}

/* Escapes what is not printable, so that JSON, logfmt and people all read it the same way; where the
 * text stands between quotes, those and backslashes too. */
static void add_safe(struct line *line, const char *text, size_t size, bool quoted)
{
    const unsigned char *bytes = (const unsigned char *)text;
    bool cut = size > VALUE_MOST;

    if (cut)
        size = VALUE_MOST;
    for (size_t i = 0; i < size;) {
        size_t length = printable(bytes + i, size - i);
        char escape[8];

        if (length && !(quoted && (bytes[i] == '"' || bytes[i] == '\\'))) {
            add(line, text + i, length);
            i += length;
            continue;
        }
        switch (bytes[i]) {
        case '"':
            add_text(line, "\\\"");
            break;
        case '\\':
            add_text(line, "\\\\");
            break;
        case '\n':
            add_text(line, "\\n");
            break;
        case '\r':
            add_text(line, "\\r");
            break;
        case '\t':
            add_text(line, "\\t");
            break;
        default: /* bytes that are not UTF-8 are shown as Latin-1 would be */
            snprintf(escape, sizeof escape, "\\u%04x", bytes[i]);
            add_text(line, escape);
        }
        i++;
    }
    if (cut)
        add_text(line, "...");
}

static void add_escaped(struct line *line, const char *text, size_t size)
{
    add_safe(line, text, size, true);
}

static bool needs_quotes(const char *text)
{
    if (!*text)
        return true;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        if (*at <= ' ' || *at >= 0x7f || *at == '"' || *at == '=' || *at == '\\')
            return true;
    return false;
}

static unsigned level_index(enum log_level level)
{
    return level < LOG_ERROR ? 0 : level > LOG_DEBUG ? 3 : level - 1;
}

static const char severities[] = "3467"; /* RFC 5424, by level */

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    return names[level_index(level)];
}

static void add_number(struct line *line, const struct log_field *field)
{
    char number[32];

    if (field->is_unsigned)
        snprintf(number, sizeof number, "%llu", (unsigned long long)field->number);
    else
        snprintf(number, sizeof number, "%lld", (long long)field->number);
    add_text(line, number);
}

static void add_json(struct line *line, const struct log_field *field)
{
    add_text(line, ",\"");
    add_escaped(line, field->name, strlen(field->name));
    if (field->text) {
        add_text(line, "\":\"");
        add_escaped(line, field->text, strlen(field->text));
        add_text(line, "\"");
    } else {
        add_text(line, "\":");
        add_number(line, field);
    }
}

static void add_plain(struct line *line, const struct log_field *field)
{
    add_text(line, " ");
    if (setup.colour)
        add_text(line, "\033[2m");
    add_text(line, field->name);
    add_text(line, "=");
    if (setup.colour)
        add_text(line, "\033[0m");
    if (!field->text) {
        add_number(line, field);
    } else if (needs_quotes(field->text)) {
        add_text(line, "\"");
        add_escaped(line, field->text, strlen(field->text));
        add_text(line, "\"");
    } else {
        add(line, field->text, strnlen(field->text, VALUE_MOST));
    }
}

/* Local time of day for people, else date and time in UTC. */
static void add_time(struct line *line, bool for_people)
{
    int64_t wall = clock_wall();
    time_t seconds = (time_t)(wall / CLOCK_SECOND);
    char text[40], fraction[8];
    struct tm parts;

    if (for_people) {
        localtime_r(&seconds, &parts);
        add(line, text, strftime(text, sizeof text, "%H:%M:%S", &parts));
    } else {
        gmtime_r(&seconds, &parts);
        add(line, text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts));
    }
    snprintf(fraction, sizeof fraction, ".%03d", (int)(wall % CLOCK_SECOND / 1000));
    add_text(line, fraction);
}

static void begin_line(struct line *line, enum log_level level, const char *event)
{
    static const char *const shown[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};
    static const char *const colours[] = {"\033[1;31m", "\033[33m", "\033[32m", "\033[2m"};
    unsigned index = level_index(level);

    if (setup.priority) { /* sd-daemon(3) */
        add_text(line, "<");
        add(line, &severities[index], 1);
        add_text(line, ">");
    }
    switch (setup.format) {
    case LOG_JSON:
        add_text(line, "{\"time\":\"");
        add_time(line, false);
        add_text(line, "Z\",\"level\":\"");
        add_text(line, level_name(level));
        add_text(line, "\",\"event\":\"");
        add_text(line, event);
        add_text(line, "\"");
        return;
    case LOG_HUMAN:
        add_time(line, true);
        add_text(line, " ");
        add_text(line, setup.colour ? colours[index] : "");
        add_text(line, shown[index]);
        add_text(line, setup.colour ? "\033[0m \033[1m" : " ");
        add_text(line, event);
        add_text(line, setup.colour ? "\033[0m" : "");
        return;
    default:
        if (!setup.priority) {
            add_text(line, "time=");
            add_time(line, false);
            add_text(line, "Z ");
        }
        add_text(line, "level=");
        add_text(line, level_name(level));
        add_text(line, " event=");
        add_text(line, event);
    }
}

static void end_line(struct line *line)
{
    const char *end = setup.format == LOG_JSON ? "}\n" : "\n";

    if (line->size > LINE_MOST - LINE_END) /* an event's name that long */
        line->size = LINE_MOST - LINE_END;
    add_text(line, end);
}

/* ---- repetition ---- */

static uint64_t mix(uint64_t hash, const char *text)
{
    /* FNV-1a, with the end of each text counted. */
    do
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    while (*text++);
    return hash;
}

static uint64_t kind_of(const char *event, const struct log_field *fields, size_t count)
{
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), event);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, "mapping") != 0 && strcmp(fields[i].name, "error") != 0)
            continue;
        hash = mix(hash, fields[i].name);
        hash = mix(hash, fields[i].text ? fields[i].text : "");
    }
    return hash;
}

/* The place where this kind is counted: its own, or the one in its set unused for longest. */
static struct kind *place_of(uint64_t hash)
{
    struct kind *set = kinds + hash % (KINDS / KINDS_PER_SET) * KINDS_PER_SET, *oldest = set;

    for (unsigned i = 0; i < KINDS_PER_SET; i++) {
        if (set[i].hash == hash && set[i].used_us)
            return &set[i];
        if (set[i].used_us < oldest->used_us)
            oldest = &set[i];
    }
    *oldest = (struct kind){.hash = hash};
    return oldest;
}

/* Whether to write a line, and how many were left out before it. */
static bool admit(uint64_t hash, uint64_t *ret_left_out)
{
    int64_t now = clock_now();
    struct kind *kind;
    bool admitted;

    pthread_mutex_lock(&kinds_mutex);
    kind = place_of(hash);
    if (!kind->used_us || now - kind->since_us >= PERIOD) {
        kind->since_us = now;
        kind->written = 0;
    }
    kind->used_us = now;
    admitted = kind->written < REPEATS;
    *ret_left_out = 0;
    if (admitted) {
        kind->written++;
        *ret_left_out = kind->left_out;
        kind->left_out = 0;
    } else {
        kind->left_out++;
    }
    pthread_mutex_unlock(&kinds_mutex);
    return admitted;
}

/* ---- the journal ---- */

#define PREFIX_SIZE 3 /* "<6>" */

/* A name of ours as a field of the journal's: MAPPING, and else SLUICE_ before it, as there are names
 * with a meaning of their own (ERRNO, UNIT). */
static void add_entry_name(struct line *entry, const char *name)
{
    size_t end = entry->size + NAME_MOST;

    add_text(entry, strcmp(name, "mapping") == 0 ? "" : "SLUICE_");
    for (; *name && entry->size < end; name++) {
        bool letter = *name >= 'a' && *name <= 'z';
        char byte = (char)(letter                               ? *name - 'a' + 'A'
                           : *name >= '0' && *name <= '9'       ? *name
                                                                : '_');

        add(entry, &byte, 1);
    }
    add_text(entry, "=");
}

static void add_entry_field(struct line *entry, const struct log_field *field)
{
    size_t before = entry->size;

    add_entry_name(entry, field->name);
    if (field->text) {
        add_safe(entry, field->text, strlen(field->text), false);
    } else {
        add_number(entry, field);
    }
    add_text(entry, "\n");
    if (entry->size == entry->most)
        entry->size = before; /* does not fit */
}

static void add_message_id(struct line *entry, const char *event)
{
    for (const struct log_message_id *id = setup.ids; id && id->event; id++)
        if (strcmp(id->event, event) == 0) {
            add_text(entry, "MESSAGE_ID=");
            add_text(entry, id->id);
            add_text(entry, "\n");
            return;
        }
}

/* Sends the line with its fields apart; values are escaped, so that each ends with its line. False
 * where the journal did not take it. */
static bool tell_journal(enum log_level level, const char *event, const struct log_field *fields,
                         size_t count, const struct line *line)
{
    char bytes[ENTRY_MOST];
    struct line entry = {bytes, 0, sizeof bytes};

    add_text(&entry, "MESSAGE=");
    add(&entry, line->text + PREFIX_SIZE, line->size - PREFIX_SIZE);
    add_text(&entry, "PRIORITY=");
    add(&entry, &severities[level_index(level)], 1);
    add_text(&entry, "\nSYSLOG_IDENTIFIER=sluice\n");
    add_message_id(&entry, event);
    add_entry_field(&entry, &LOG_TEXT("event", event));
    for (size_t i = 0; i < count; i++)
        add_entry_field(&entry, &fields[i]);
    return journal_send(entry.text, entry.size) == 0;
}

/* ---- writing ---- */

static void make_line(struct line *line, enum log_level level, const char *event,
                      const struct log_field *fields, size_t count, uint64_t left_out)
{
    begin_line(line, level, event);
    for (size_t i = 0; i <= count; i++) {
        const struct log_field field =
            i < count ? fields[i] : LOG_NUMBER("left_out", (int64_t)left_out);
        size_t before = line->size;

        if (i == count && !left_out)
            continue;
        if (setup.format == LOG_JSON)
            add_json(line, &field);
        else
            add_plain(line, &field);
        if (line->size > LINE_MOST - LINE_END)
            line->size = before; /* a field that does not fit is left out as a whole */
    }
    end_line(line);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    int saved_errno = errno;
    uint64_t left_out;
    char text[LINE_MOST];
    struct line line = {text, 0, sizeof text};

    if (!log_enabled(level))
        return;
    pthread_once(&defaults_once, settle_format);
    if (!admit(kind_of(event, fields, count), &left_out))
        return;
    make_line(&line, level, event, fields, count, left_out);
    /* One write, so that lines of several threads do not mix. A reader of stderr that does not keep
     * up or is gone costs lines, nothing else. */
    if (!setup.priority || !tell_journal(level, event, fields, count, &line))
        while (write(STDERR_FILENO, line.text, line.size) < 0 && errno == EINTR)
            ;
    errno = saved_errno;
}
