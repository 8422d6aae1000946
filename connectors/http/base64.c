/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <stdint.h>
#include <stdlib.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64_encode(const void *data, size_t size, char *ret, int url)
{
    const char *alphabet = url ? for_urls : standard;
    const unsigned char *at = data;
    char *out = ret;

    for (; size >= 3; size -= 3, at += 3) {
        *out++ = alphabet[at[0] >> 2];
        *out++ = alphabet[(at[0] & 3) << 4 | at[1] >> 4];
        *out++ = alphabet[(at[1] & 15) << 2 | at[2] >> 6];
        *out++ = alphabet[at[2] & 63];
    }
    if (size) {
        *out++ = alphabet[at[0] >> 2];
        *out++ = alphabet[(at[0] & 3) << 4 | (size == 2 ? at[1] >> 4 : 0)];
        if (size == 2)
            *out++ = alphabet[(at[1] & 15) << 2];
        for (; !url && (out - ret) % 4; out++)
            *out = '=';
    }
    *out = '\0';
    return (size_t)(out - ret);
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

void *base64_decode(const char *text, size_t size, size_t *ret_size)
{
    unsigned char *data, *out;
    uint32_t bits = 0;
    size_t count = 0;

    if (size % 4 == 0)
        for (int i = 0; i < 2 && size && text[size - 1] == '='; i++)
            size--;
    if (size % 4 == 1)
        return NULL;
    data = out = malloc(size / 4 * 3 + 3);
    if (!data)
        return NULL;
    for (; count < size; count++) {
        int value = value_of(text[count]);

        if (value < 0) {
            free(data);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)value;
        if (count % 4 == 1)
            *out++ = (unsigned char)(bits >> 4);
        else if (count % 4 == 2)
            *out++ = (unsigned char)(bits >> 2);
        else if (count % 4 == 3)
            *out++ = (unsigned char)bits;
    }
    *ret_size = (size_t)(out - data);
    return data;
}
