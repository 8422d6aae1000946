/* SPDX-License-Identifier: MIT */
#include "base/base64.h"

#include <stdint.h>
#include <string.h>

/* All pairs of digits in order: 12 bits at a time. As fast as OpenSSL's EVP_EncodeBlock or faster,
 * and base/ needs no library for it. */
#define PAIRS(f)                                                                                   \
    f "A" f "B" f "C" f "D" f "E" f "F" f "G" f "H" f "I" f "J" f "K" f "L" f "M" f "N" f "O" f    \
      "P" f "Q" f "R" f "S" f "T" f "U" f "V" f "W" f "X" f "Y" f "Z" f "a" f "b" f "c" f "d" f    \
      "e" f "f" f "g" f "h" f "i" f "j" f "k" f "l" f "m" f "n" f "o" f "p" f "q" f "r" f "s" f    \
      "t" f "u" f "v" f "w" f "x" f "y" f "z" f "0" f "1" f "2" f "3" f "4" f "5" f "6" f "7" f    \
      "8" f "9" f "+" f "/"

static const char pairs[2 * 4096 + 1] = PAIRS("A") PAIRS("B") PAIRS("C") PAIRS("D") PAIRS("E")
    PAIRS("F") PAIRS("G") PAIRS("H") PAIRS("I") PAIRS("J") PAIRS("K") PAIRS("L") PAIRS("M")
        PAIRS("N") PAIRS("O") PAIRS("P") PAIRS("Q") PAIRS("R") PAIRS("S") PAIRS("T") PAIRS("U")
            PAIRS("V") PAIRS("W") PAIRS("X") PAIRS("Y") PAIRS("Z") PAIRS("a") PAIRS("b") PAIRS("c")
                PAIRS("d") PAIRS("e") PAIRS("f") PAIRS("g") PAIRS("h") PAIRS("i") PAIRS("j")
                    PAIRS("k") PAIRS("l") PAIRS("m") PAIRS("n") PAIRS("o") PAIRS("p") PAIRS("q")
                        PAIRS("r") PAIRS("s") PAIRS("t") PAIRS("u") PAIRS("v") PAIRS("w") PAIRS("x")
                            PAIRS("y") PAIRS("z") PAIRS("0") PAIRS("1") PAIRS("2") PAIRS("3")
                                PAIRS("4") PAIRS("5") PAIRS("6") PAIRS("7") PAIRS("8") PAIRS("9")
                                    PAIRS("+") PAIRS("/");

static char *write_pair(char *out, uint64_t bits)
{
    memcpy(out, pairs + 2 * (bits & 0xfff), 2);
    return out + 2;
}

char *base64_write(char *out, const void *data, size_t size)
{
    const unsigned char *in = data;

    for (; size >= 8; size -= 6, in += 6) {
        uint64_t bits;

        memcpy(&bits, in, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        bits = __builtin_bswap64(bits);
#endif
        out = write_pair(out, bits >> 52);
        out = write_pair(out, bits >> 40);
        out = write_pair(out, bits >> 28);
        out = write_pair(out, bits >> 16);
    }
    for (; size >= 3; size -= 3, in += 3) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

        out = write_pair(out, bits >> 12);
        out = write_pair(out, bits);
    }
    if (size) {
        uint32_t bits = (uint32_t)in[0] << 16 | (size > 1 ? (uint32_t)in[1] << 8 : 0);

        out = write_pair(out, bits >> 12);
        out = write_pair(out, bits);
        out[-1] = '=';
        if (size == 1)
            out[-2] = '=';
    }
    return out;
}

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t base64_read(void *out, const char *text, size_t size)
{
    unsigned char *at = out;
    size_t padding = size && text[size - 1] == '=' ? 1 + (size > 1 && text[size - 2] == '=') : 0;
    uint32_t bits = 0;

    if (size % 4)
        return SIZE_MAX;
    for (size_t i = 0; i < size; i++) {
        int value = i >= size - padding ? 0 : sextet(text[i]);

        if (value < 0)
            return SIZE_MAX;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 3)
            continue;
        *at++ = (unsigned char)(bits >> 16);
        *at++ = (unsigned char)(bits >> 8);
        *at++ = (unsigned char)bits;
    }
    return (size_t)(at - (unsigned char *)out) - padding;
}
