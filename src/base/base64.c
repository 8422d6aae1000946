/* SPDX-License-Identifier: MIT */
#include "base/base64.h"

#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

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

#ifdef __x86_64__
#define WIDE_READ 28 /* bytes looked at for 24 that are taken */

/* 24 bytes to 32 digits in one step (W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding Using
 * AVX2 Instructions", 2018, section 3). It leaves the first-level
 * cache to the messages. */
__attribute__((target("avx2"))) static char *write_wide(char *out, const unsigned char **in,
                                                        size_t *size)
{
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    /* What is to be added to a sextet: by class, which is 0 for a-z, 13 for A-Z, else sextet - 51. */
    const __m256i shifts = _mm256_broadcastsi128_si256(
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0));

    for (; *size >= WIDE_READ; *size -= 24, *in += 24, out += 32) {
        __m128i low = _mm_loadu_si128((const __m128i *)*in);
        __m128i high = _mm_loadu_si128((const __m128i *)(*in + 12));
        __m256i bytes = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), spread);
        __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(bytes, _mm256_set1_epi32(0x0fc0fc00)),
                                         _mm256_set1_epi32(0x04000040));
        __m256i even = _mm256_mullo_epi16(_mm256_and_si256(bytes, _mm256_set1_epi32(0x003f03f0)),
                                          _mm256_set1_epi32(0x01000010));
        __m256i sextets = _mm256_or_si256(odd, even);
        __m256i upper = _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), sextets),
                                         _mm256_set1_epi8(13));
        __m256i class = _mm256_or_si256(_mm256_subs_epu8(sextets, _mm256_set1_epi8(51)), upper);

        _mm256_storeu_si256((__m256i *)out,
                            _mm256_add_epi8(_mm256_shuffle_epi8(shifts, class), sextets));
    }
    return out;
}
#endif

char *base64_write(char *out, const void *data, size_t size)
{
    const unsigned char *in = data;

#ifdef __x86_64__
    if (size >= WIDE_READ && __builtin_cpu_supports("avx2"))
        out = write_wide(out, &in, &size);
#endif
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
