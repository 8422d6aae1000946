/* SPDX-License-Identifier: MIT */
#include "base/json_scan.h"

#include <string.h>

#include "base/json_text.h"

#define ONES UINT64_C(0x0101010101010101)

struct scan {
    const unsigned char *at, *end;
    const struct json_scan_step *path;
    size_t steps;
    struct json_scan_value found;
    size_t depth;                   /* arrays and objects that are open, */
    size_t tracked;                 /* and how many of them, from the outside, lie on the path */
    bool on_path;                   /* whether the next value does */
    bool is_array[JSON_SCAN_DEPTH]; /* by depth - 1, as is */
    int64_t index[JSON_SCAN_STEPS + 1]; /* of the present element, in arrays on the path */
    struct json_scan_member *members; /* of an outermost object; NULL: nobody asks */
    size_t member_room, member_count;
    struct json_scan_value *open; /* the member's value whose end is still to come */
};

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

/* ---- strings ---- */

static int hex_digit(unsigned char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The code unit of \uXXXX at `at`; -1 where it is none. */
static int code_unit(const unsigned char *at, const unsigned char *end)
{
    int unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* The character of the escape at `at`, and the bytes it takes; 0 bytes where it is not valid. */
static size_t read_escape(const unsigned char *at, const unsigned char *end,
                          uint32_t *ret_character)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter;
    int high, low;

    if (end - at < 2)
        return 0;
    if (at[1] != 'u') {
        letter = at[1] ? strchr(letters, at[1]) : NULL;
        if (!letter)
            return 0;
        *ret_character = (unsigned char)meanings[letter - letters];
        return 2;
    }
    high = code_unit(at, end);
    if (high < 0 || (high & 0xfc00) == 0xdc00)
        return 0;
    *ret_character = (uint32_t)high;
    if ((high & 0xfc00) != 0xd800)
        return 6;
    low = code_unit(at + 6, end);
    if (low < 0 || (low & 0xfc00) != 0xdc00)
        return 0;
    *ret_character = 0x10000u + (((uint32_t)high & 0x3ff) << 10) + ((uint32_t)low & 0x3ff);
    return 12;
}

static size_t encode(uint32_t character, char out[4])
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        out[0] = (char)(0xc0 | character >> 6);
        out[1] = (char)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        out[0] = (char)(0xe0 | character >> 12);
        out[1] = (char)(0x80 | (character >> 6 & 0x3f));
        out[2] = (char)(0x80 | (character & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | character >> 18);
    out[1] = (char)(0x80 | (character >> 12 & 0x3f));
    out[2] = (char)(0x80 | (character >> 6 & 0x3f));
    out[3] = (char)(0x80 | (character & 0x3f));
    return 4;
}

/* Passes a string whose opening quote is at `at`; sets `ret` to what is between the quotes. */
static bool pass_string(struct scan *scan, struct json_scan_value *ret)
{
    const unsigned char *at = scan->at, *end = scan->end;
    uint32_t character;
    size_t step;

    if (at == end || *at++ != '"')
        return false;
    ret->kind = JSON_SCAN_STRING;
    ret->text = (const char *)at;
    for (;;) {
        while (end - at >= 8) {
            uint64_t word;

            memcpy(&word, at, 8);
            /* No control character, quote, backslash or byte above 0x7f among the eight; a borrow
             * can only come from a byte that fails itself. */
            word = ((word - 0x20 * ONES) | word | ((word ^ '"' * ONES) - ONES) |
                    ((word ^ '\\' * ONES) - ONES)) &
                   0x80 * ONES;
            if (word) {
                at += json_text_passed(word);
                break;
            }
            at += 8;
        }
        while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
            at++;
        if (at == end)
            return false;
        if (*at == '"')
            break;
        step = *at == '\\'   ? read_escape(at, end, &character)
               : *at >= 0x80 ? json_text_sequence(at, end)
                             : 0;
        if (!step)
            return false;
        at += step;
    }
    ret->size = (size_t)(at - (const unsigned char *)ret->text);
    scan->at = at + 1;
    return true;
}

void json_scan_unescape(struct buffer *buffer, const struct json_scan_value *string)
{
    const unsigned char *at = (const unsigned char *)string->text, *end = at + string->size;

    while (at < end) {
        const unsigned char *escape = memchr(at, '\\', (size_t)(end - at));
        uint32_t character = 0;
        char bytes[4];

        buffer_add(buffer, at, (size_t)((escape ? escape : end) - at));
        if (!escape)
            return;
        at = escape + read_escape(escape, end, &character);
        buffer_add(buffer, bytes, encode(character, bytes));
    }
}

bool json_scan_same(const struct json_scan_value *string, const char *name, size_t size)
{
    const unsigned char *at = (const unsigned char *)string->text, *end = at + string->size;
    const char *name_end = name + size;

    if (!memchr(at, '\\', string->size))
        return string->size == size && !memcmp(at, name, size);
    while (at < end) {
        uint32_t character;
        char bytes[4] = {(char)*at};
        size_t length = 1;

        if (*at == '\\') {
            at += read_escape(at, end, &character);
            length = encode(character, bytes);
        } else {
            at++;
        }
        if ((size_t)(name_end - name) < length || memcmp(name, bytes, length))
            return false;
        name += length;
    }
    return name == name_end;
}

/* ---- other scalars ---- */

static bool pass_digits(struct scan *scan)
{
    const unsigned char *from = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > from;
}

static bool at_byte(const struct scan *scan, unsigned char byte)
{
    return scan->at < scan->end && *scan->at == byte;
}

static bool pass_number(struct scan *scan, struct json_scan_value *ret)
{
    const unsigned char *from = scan->at;

    if (at_byte(scan, '-'))
        scan->at++;
    if (at_byte(scan, '0'))
        scan->at++;
    else if (!pass_digits(scan))
        return false;
    if (at_byte(scan, '.')) {
        scan->at++;
        if (!pass_digits(scan))
            return false;
    }
    if (at_byte(scan, 'e') || at_byte(scan, 'E')) {
        scan->at++;
        if (at_byte(scan, '+') || at_byte(scan, '-'))
            scan->at++;
        if (!pass_digits(scan))
            return false;
    }
    *ret =
        (struct json_scan_value){JSON_SCAN_NUMBER, (const char *)from, (size_t)(scan->at - from)};
    return true;
}

static bool pass_word(struct scan *scan, const char *word, enum json_scan_kind kind,
                      struct json_scan_value *ret)
{
    size_t size = strlen(word);

    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size))
        return false;
    scan->at += size;
    *ret = (struct json_scan_value){.kind = kind};
    return true;
}

/* ---- arrays and objects ---- */

static bool open_container(struct scan *scan, bool is_array, struct json_scan_value *ret)
{
    if (scan->depth == JSON_SCAN_DEPTH)
        return false;
    scan->at++;
    /* On the path and not its end: members may be on the path too. */
    if (scan->on_path && scan->depth < scan->steps)
        scan->tracked = scan->depth + 1;
    scan->is_array[scan->depth++] = is_array;
    if (scan->tracked == scan->depth)
        scan->index[scan->depth - 1] = -1;
    *ret = (struct json_scan_value){.kind = is_array ? JSON_SCAN_ARRAY : JSON_SCAN_OBJECT};
    return true;
}

static void close_container(struct scan *scan)
{
    scan->at++;
    scan->depth--;
    if (scan->tracked > scan->depth)
        scan->tracked = scan->depth;
    if (scan->depth == 1 && scan->open) {
        scan->open->size = (size_t)((const char *)scan->at - scan->open->text);
        scan->open = NULL;
    }
}

/* The member of the outermost object whose turn it is; NULL where nobody asks, or there is no room. */
static struct json_scan_member *present_member(struct scan *scan)
{
    return scan->member_count <= scan->member_room ? &scan->members[scan->member_count - 1] : NULL;
}

static void note_name(struct scan *scan, const struct json_scan_value *name)
{
    struct json_scan_member *member;

    scan->member_count++;
    member = present_member(scan);
    if (member)
        member->name = *name;
}

/* Its value begins at `from`. */
static void note_value(struct scan *scan, const unsigned char *from,
                       const struct json_scan_value *value)
{
    struct json_scan_member *member = present_member(scan);

    if (!member)
        return;
    member->value = *value;
    if (scan->depth > 1) {
        member->value.text = (const char *)from;
        scan->open = &member->value;
    }
}

/* Passes what stands before a member: for objects its name and the colon. */
static bool begin_member(struct scan *scan)
{
    size_t level = scan->depth - 1;
    struct json_scan_value name;

    scan->on_path = scan->depth && scan->tracked == scan->depth;
    if (scan->is_array[level]) {
        if (scan->on_path)
            scan->on_path = ++scan->index[level] == scan->path[level].index;
        return true;
    }
    skip_space(scan);
    if (!pass_string(scan, &name))
        return false;
    if (scan->members && !level)
        note_name(scan, &name);
    scan->on_path = scan->on_path && json_scan_same(&name, scan->path[level].name,
                                                     scan->path[level].name_size);
    skip_space(scan);
    if (!at_byte(scan, ':'))
        return false;
    scan->at++;
    return true;
}

/* After a value: closes what ends here and goes to the next member. 1: there is one; 0: the text is
 * over; -1: not JSON. */
static int next_member(struct scan *scan)
{
    for (;;) {
        bool is_array;

        skip_space(scan);
        if (!scan->depth)
            return scan->at == scan->end ? 0 : -1;
        is_array = scan->is_array[scan->depth - 1];
        if (at_byte(scan, ',')) {
            scan->at++;
            return begin_member(scan) ? 1 : -1;
        }
        if (!at_byte(scan, is_array ? ']' : '}'))
            return -1;
        close_container(scan);
    }
}

/* Passes a scalar, or the opening of an array or object. */
static bool pass_value(struct scan *scan, struct json_scan_value *ret)
{
    switch (scan->at < scan->end ? *scan->at : 0) {
    case '{':
        return open_container(scan, false, ret);
    case '[':
        return open_container(scan, true, ret);
    case '"':
        return pass_string(scan, ret);
    case 't':
        return pass_word(scan, "true", JSON_SCAN_TRUE, ret);
    case 'f':
        return pass_word(scan, "false", JSON_SCAN_FALSE, ret);
    case 'n':
        return pass_word(scan, "null", JSON_SCAN_NULL, ret);
    default:
        return pass_number(scan, ret);
    }
}

/* The whole text, from `scan->at` on. */
static bool pass_text(struct scan *scan)
{
    int more = 1;

    while (more > 0) {
        struct json_scan_value value;
        size_t level = scan->depth;
        const unsigned char *from;
        bool on_path;

        skip_space(scan);
        on_path = scan->on_path;
        from = scan->at;
        if (!pass_value(scan, &value))
            return false;
        if (on_path) /* a later member of the same name overrides, whatever it holds */
            scan->found =
                level == scan->steps ? value : (struct json_scan_value){.kind = JSON_SCAN_ABSENT};
        if (scan->members && level == 1 && !scan->is_array[0])
            note_value(scan, from, &value);
        if (scan->depth > level) {
            skip_space(scan);
            if (!at_byte(scan, scan->is_array[level] ? ']' : '}')) {
                if (!begin_member(scan))
                    return false;
                continue;
            }
            close_container(scan);
        }
        more = next_member(scan);
    }
    return !more;
}

static void begin(struct scan *scan, const void *data, size_t size)
{
    /* Member by member: the arrays need no zeroes. */
    scan->at = data;
    scan->end = scan->at + size;
    scan->path = NULL;
    scan->steps = 0;
    scan->found = (struct json_scan_value){.kind = JSON_SCAN_ABSENT};
    scan->depth = scan->tracked = 0;
    scan->on_path = false;
    scan->members = NULL;
    scan->open = NULL;
}

bool json_scan(const void *data, size_t size, const struct json_scan_step *path, size_t steps,
               struct json_scan_value *ret_value)
{
    struct scan scan;

    begin(&scan, data, size);
    scan.path = path;
    scan.steps = ret_value ? steps : 0;
    scan.on_path = ret_value != NULL;
    if (!pass_text(&scan))
        return false;
    if (ret_value)
        *ret_value = scan.found;
    return true;
}

bool json_scan_members(const void *data, size_t size, struct json_scan_member *ret_members,
                       size_t room, size_t *ret_count)
{
    struct scan scan;

    begin(&scan, data, size);
    scan.members = ret_members;
    scan.member_room = room;
    scan.member_count = 0;
    if (!pass_text(&scan))
        return false;
    *ret_count = scan.member_count;
    return true;
}
