/* SPDX-License-Identifier: MIT
 * How `sluice dlq` shows text, times and payloads. What it shows comes from strangers: nothing of
 * it reaches the terminal as a control sequence. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/json_edit.h"
#include "base/json_scan.h"
#include "base/json_text.h"
#include "base/units.h"
#include "cli/dlq_inside.h"

#define WIDTH_LEAST 40
#define DUMP_LINE   16

/* As setlocale would find it; it is not called, so that numbers stay as they are. */
static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

struct dlq_screen dlq_screen(void)
{
    struct dlq_screen screen = {.terminal = isatty(STDOUT_FILENO), .width = UINT_MAX};
    const char *no_colour = getenv("NO_COLOR"), *kind = getenv("TERM"); /* no-color.org */
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    int64_t given;

    screen.now_us = clock_wall();
    screen.utf8 = speaks_utf8();
    if (!screen.terminal)
        return screen;
    screen.colour = !(no_colour && *no_colour) && !(kind && strcmp(kind, "dumb") == 0);
    screen.width = 80;
    if (columns && units_parse_integer(columns, &given) == 0 && given > 0 && given < 10000)
        screen.width = (unsigned)given;
    else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        screen.width = size.ws_col;
    if (screen.width < WIDTH_LEAST)
        screen.width = WIDTH_LEAST;
    return screen;
}

void dlq_style(const struct dlq_screen *screen, const char *style)
{
    static const char *const styles[][2] = {
        {"bold", "\033[1m"}, {"dim", "\033[2m"}, {"red", "\033[31m"}, {"plain", "\033[0m"}};

    if (!screen->colour)
        return;
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
        if (strcmp(styles[i][0], style) == 0)
            fputs(styles[i][1], stdout);
}

/* ---- text ---- */

/* Whether a well-formed character of two or more bytes controls the terminal or turns the direction
 * of writing: C1 (U+0080..9F), U+200E, U+200F, U+2028..202E, U+2066..2069, U+061C. */
static bool controls(const unsigned char *at, size_t size)
{
    if (size == 2)
        return (at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xd8 && at[1] == 0x9c);
    if (size != 3 || at[0] != 0xe2)
        return false;
    return (at[1] == 0x80 &&
            (at[2] == 0x8e || at[2] == 0x8f || (at[2] >= 0xa8 && at[2] <= 0xae))) ||
           (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9);
}

/* One character as it is shown. Returns the bytes taken; *ret_width columns (all but wide ones). */
static size_t show_one(const unsigned char *at, const unsigned char *end, char ret_shown[8],
                       unsigned *ret_width)
{
    static const char *const escapes[] = {['\t'] = "\\t", ['\n'] = "\\n", ['\r'] = "\\r"};
    size_t size = json_text_sequence(at, end);

    if (size && !controls(at, size) && at[0] >= 0x20 && at[0] != 0x7f) {
        memcpy(ret_shown, at, size);
        ret_shown[size] = '\0';
        *ret_width = 1;
        return size;
    }
    if (at[0] == '\t' || at[0] == '\n' || at[0] == '\r')
        snprintf(ret_shown, 8, "%s", escapes[at[0]]);
    else
        snprintf(ret_shown, 8, "\\x%02x", at[0]);
    *ret_width = (unsigned)strlen(ret_shown);
    return 1;
}

static unsigned measure(const char *text, size_t size, unsigned stop)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    unsigned width = 0, one;
    char shown[8];

    while (at < end && width <= stop) {
        at += show_one(at, end, shown, &one);
        width += one;
    }
    return width;
}

unsigned dlq_width(const char *text)
{
    return measure(text, strlen(text), UINT_MAX - 8);
}

unsigned dlq_line(const char *text, size_t size, unsigned width)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    bool cut = width < UINT_MAX && measure(text, size, width) > width;
    unsigned room = cut ? (width > 3 ? width - 3 : 0) : width, printed = 0, one;
    char shown[8];

    while (at < end) {
        size_t taken = show_one(at, end, shown, &one);

        if (one > room - printed)
            break;
        fputs(shown, stdout);
        printed += one;
        at += taken;
    }
    if (cut)
        printed += (unsigned)printf("%.*s", (int)(width < 3 ? width : 3), "...");
    return printed;
}

void dlq_error(const char *text, unsigned width)
{
    static const char usual[] = "the function answered ";
    size_t size = sizeof usual - 1;

    if (strncmp(text, usual, size) == 0 && measure(text, strlen(text), width) > width)
        text += size;
    dlq_line(text, strlen(text), width);
}

void dlq_block(const char *text, size_t size, unsigned indent)
{
    while (size) {
        const char *end = memchr(text, '\n', size);
        size_t line = end ? (size_t)(end - text) : size;
        size_t shown = line && text[line - 1] == '\r' ? line - 1 : line;

        printf("%*s", (int)indent, "");
        for (size_t i = 0, from = 0; i <= shown; i++) {
            if (i < shown && text[i] != '\t')
                continue;
            dlq_line(text + from, i - from, UINT_MAX);
            if (i < shown)
                putchar('\t');
            from = i + 1;
        }
        putchar('\n');
        line += end != NULL;
        text += line;
        size -= line;
    }
}

void dlq_pad(unsigned printed, unsigned width)
{
    printf("%*s", (int)((width > printed ? width - printed : 0) + 2), "");
}

const char *dlq_number(uint64_t number, char ret[DLQ_TIME])
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *at = ret;

    for (int i = 0; i < size; i++) {
        if (i && (size - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return ret;
}

void dlq_spark(const struct dlq_screen *screen, const uint64_t *numbers, size_t count)
{
    static const char *const bars[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                       "\u2585", "\u2586", "\u2587", "\u2588"};
    uint64_t most = 1;

    for (size_t i = 0; i < count; i++)
        most = numbers[i] > most ? numbers[i] : most;
    for (size_t i = 0; i < count; i++) {
        size_t level = numbers[i] ? (size_t)((double)numbers[i] * 7 / (double)most + 0.5) : 0;

        if (!numbers[i])
            fputs(screen->utf8 ? "\u2581" : "_", stdout);
        else if (screen->utf8)
            fputs(bars[level ? level : 1], stdout);
        else
            putchar("_.:-=+*#"[level ? level : 1]);
    }
}

/* ---- times ---- */

const char *dlq_ago(const struct dlq_screen *screen, int64_t wall_us, char ret[DLQ_TIME])
{
    int64_t seconds = (screen->now_us - wall_us) / CLOCK_SECOND;

    if (seconds < 0)
        seconds = 0; /* another machine's clock */
    if (seconds < 120)
        snprintf(ret, DLQ_TIME, "%llds", (long long)seconds);
    else if (seconds < 120 * 60)
        snprintf(ret, DLQ_TIME, "%lldm", (long long)(seconds / 60));
    else if (seconds < 48 * 3600)
        snprintf(ret, DLQ_TIME, "%lldh", (long long)(seconds / 3600));
    else
        snprintf(ret, DLQ_TIME, "%lldd", (long long)(seconds / 86400));
    return ret;
}

const char *dlq_time(int64_t wall_us, char ret[DLQ_TIME])
{
    time_t seconds = (time_t)(wall_us / CLOCK_SECOND);
    struct tm parts;

    localtime_r(&seconds, &parts);
    strftime(ret, DLQ_TIME, "%Y-%m-%d %H:%M:%S", &parts);
    return ret;
}

const char *dlq_timestamp(int64_t wall_us, char ret[DLQ_TIME])
{
    time_t seconds = (time_t)(wall_us / CLOCK_SECOND);
    struct tm parts;
    size_t size;

    gmtime_r(&seconds, &parts);
    size = strftime(ret, DLQ_TIME, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret + size, DLQ_TIME - size, ".%06dZ", (int)(wall_us % CLOCK_SECOND));
    return ret;
}

/* `.25` and more digits, of which six count. NULL: there are none. */
static const char *parse_fraction(const char *text, int64_t *ret_us)
{
    int64_t unit = CLOCK_SECOND;
    const char *at = text + 1;

    for (; *at >= '0' && *at <= '9'; at++)
        *ret_us += (*at - '0') * (unit /= 10);
    return at > text + 1 ? at : NULL;
}

/* What follows a time: nothing (local), Z, or an offset such as +02:00. -1: anything else. */
static int parse_zone(const char *text, bool *ret_utc, int64_t *ret_offset_us)
{
    int hours, minutes, size = 0;

    *ret_utc = *text != '\0';
    *ret_offset_us = 0;
    if (!*text || strcmp(text, "Z") == 0)
        return 0;
    if ((*text != '+' && *text != '-') || strspn(text + 1, "0123456789:") != strlen(text + 1) ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &size) != 2 || size != 5 || text[6])
        return -1;
    *ret_offset_us = (hours * 60 + minutes) * CLOCK_MINUTE * (*text == '-' ? -1 : 1);
    return 0;
}

/* `14:00`: when it was that last. */
static int parse_time_of_day(const char *text, int64_t now_us, int64_t *ret_wall_us)
{
    time_t now = (time_t)(now_us / CLOCK_SECOND), seconds;
    struct tm parts;
    const char *end;

    localtime_r(&now, &parts);
    parts.tm_sec = 0;
    end = strptime(text, "%H:%M", &parts);
    if (!end || *end)
        return -1;
    parts.tm_isdst = -1;
    seconds = mktime(&parts);
    if (seconds > now) {
        parts.tm_mday--;
        parts.tm_isdst = -1;
        seconds = mktime(&parts);
    }
    *ret_wall_us = (int64_t)seconds * CLOCK_SECOND;
    return 0;
}

int dlq_parse_time(const char *text, int64_t now_us, int64_t *ret_wall_us)
{
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
                                          "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"};
    int64_t ago;

    if (units_parse_duration(text, &ago) == 0) {
        *ret_wall_us = now_us - ago;
        return 0;
    }
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm parts = {.tm_isdst = -1};
        const char *end = strptime(text, formats[i], &parts);
        int64_t part_us = 0, offset_us;
        time_t seconds;
        bool utc;

        if (end && *end == '.' && strstr(formats[i], "%S"))
            end = parse_fraction(end, &part_us);
        if (!end || parse_zone(end, &utc, &offset_us) != 0)
            continue;
        seconds = utc ? timegm(&parts) : mktime(&parts);
        if (seconds <= 0)
            return -1;
        *ret_wall_us = (int64_t)seconds * CLOCK_SECOND + part_us - offset_us;
        return 0;
    }
    return parse_time_of_day(text, now_us, ret_wall_us);
}

/* ---- payloads ---- */

static bool is_text(struct sluice_bytes bytes)
{
    const unsigned char *at = bytes.data;

    if (!json_text_is_utf8(bytes.data, bytes.size))
        return false;
    for (size_t i = 0; i < bytes.size; i++)
        if ((at[i] < 0x20 && at[i] != '\n' && at[i] != '\r' && at[i] != '\t') || at[i] == 0x7f)
            return false;
    return true;
}

static bool is_json(struct sluice_bytes bytes)
{
    return bytes.size && json_scan(bytes.data, bytes.size, NULL, 0, NULL);
}

const char *dlq_content(struct sluice_bytes bytes)
{
    return is_json(bytes) ? "JSON" : is_text(bytes) ? "text" : "binary";
}

static void dump(const unsigned char *bytes, size_t size, unsigned indent)
{
    for (size_t at = 0; at < size; at += DUMP_LINE) {
        size_t count = size - at < DUMP_LINE ? size - at : DUMP_LINE;

        printf("%*s%08zx ", (int)indent, "", at);
        for (size_t i = 0; i < DUMP_LINE; i++) {
            if (i < count)
                printf("%s%02x", i == DUMP_LINE / 2 ? "  " : " ", bytes[at + i]);
            else
                printf("%s  ", i == DUMP_LINE / 2 ? "  " : " ");
        }
        fputs("  ", stdout);
        for (size_t i = 0; i < count; i++)
            putchar(bytes[at + i] >= 0x20 && bytes[at + i] < 0x7f ? bytes[at + i] : '.');
        putchar('\n');
    }
}

void dlq_payload(struct sluice_bytes bytes, unsigned indent, size_t most)
{
    size_t size = bytes.size < most ? bytes.size : most;

    if (is_json(bytes)) {
        struct buffer out;

        buffer_init(&out, most * 2 + 4096);
        json_edit_lay_out(&out, bytes.data, bytes.size);
        dlq_block(out.data, out.size < most ? out.size : most, indent);
        if (out.size >= most)
            printf("%*s... (--payload prints all %zu bytes)\n", (int)indent, "", bytes.size);
        buffer_fini(&out);
        return;
    }
    if (is_text(bytes)) {
        while (size < bytes.size && size &&
               (((const unsigned char *)bytes.data)[size] & 0xc0) == 0x80)
            size--;
        dlq_block(bytes.data, size, indent);
    } else {
        if (size > most / 16)
            size = most / 16;
        dump(bytes.data, size, indent);
    }
    if (size < bytes.size)
        printf("%*s... %zu bytes more (--payload prints all)\n", (int)indent, "",
               bytes.size - size);
}
