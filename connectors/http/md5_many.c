/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "md5_many.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define LANES   4 /* of a vector */
#define VECTORS (MD5_MANY_MOST / LANES)
#define BLOCK_SIZE   64
#define WORDS   16 /* of a block */

typedef uint32_t words __attribute__((vector_size(sizeof(uint32_t) * LANES)));

/* What a step works on: one word of each text. */
union row {
    words vectors[VECTORS];
    uint32_t lanes[MD5_MANY_MOST];
};

struct state {
    union row a, b, c, d;
};

/* A text as its blocks: those that are whole in place, then the end with its padding. */
struct lane {
    const unsigned char *at; /* the present block */
    size_t whole, count;     /* blocks */
    unsigned char end[2 * BLOCK_SIZE];
};

/* ---- one block of each text ---- */

static const uint32_t constants[4 * WORDS] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8,
    0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
    0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87,
    0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
    0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039,
    0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
    0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
    0xeb86d391};

#define F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define G(x, y, z) ((y) ^ ((z) & ((x) ^ (y))))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))

/* One step of one vector. The vectors' steps stand side by side, as none waits for another's. */
#define STEP_OF(v, mix, a, b, c, d, word, constant, left)                                                       \
    a.vectors[v] += mix(b.vectors[v], c.vectors[v], d.vectors[v]) + block[(word) % WORDS].vectors[v] +           \
                    constants[constant];                                                                         \
    a.vectors[v] = b.vectors[v] + (a.vectors[v] << (left) | a.vectors[v] >> (32 - (left)));
#define STEP(mix, a, b, c, d, word, constant, left)                                                             \
    STEP_OF(0, mix, a, b, c, d, word, constant, left)                                                            \
    STEP_OF(1, mix, a, b, c, d, word, constant, left)                                                            \
    STEP_OF(2, mix, a, b, c, d, word, constant, left)
/* Words are taken from `first` on, each `stride` behind the one before. */
#define ROUND(round, mix, first, stride, left_1, left_2, left_3, left_4)                                        \
    for (unsigned i = 0; i < WORDS; i += 4) {                                                                    \
        STEP(mix, a, b, c, d, (first) + (stride) * i, (round) * WORDS + i, left_1)                               \
        STEP(mix, d, a, b, c, (first) + (stride) * (i + 1), (round) * WORDS + i + 1, left_2)                     \
        STEP(mix, c, d, a, b, (first) + (stride) * (i + 2), (round) * WORDS + i + 2, left_3)                     \
        STEP(mix, b, c, d, a, (first) + (stride) * (i + 3), (round) * WORDS + i + 3, left_4)                     \
    }

_Static_assert(VECTORS == 3, "STEP has one line for each");

static void add_block(struct state *state, const union row block[WORDS])
{
    union row a = state->a, b = state->b, c = state->c, d = state->d;

    ROUND(0, F, 0, 1, 7, 12, 17, 22)
    ROUND(1, G, 1, 5, 5, 9, 14, 20)
    ROUND(2, H, 5, 3, 4, 11, 16, 23)
    ROUND(3, I, 0, 7, 6, 10, 15, 21)
    for (size_t v = 0; v < VECTORS; v++) {
        state->a.vectors[v] += a.vectors[v];
        state->b.vectors[v] += b.vectors[v];
        state->c.vectors[v] += c.vectors[v];
        state->d.vectors[v] += d.vectors[v];
    }
}

/* ---- texts ---- */

static void begin(struct state *state)
{
    for (size_t i = 0; i < MD5_MANY_MOST; i++) {
        state->a.lanes[i] = 0x67452301;
        state->b.lanes[i] = 0xefcdab89;
        state->c.lanes[i] = 0x98badcfe;
        state->d.lanes[i] = 0x10325476;
    }
}

static void begin_lane(struct lane *lane, struct md5_text text)
{
    size_t rest = text.size % BLOCK_SIZE, last = rest < BLOCK_SIZE - sizeof(uint64_t) ? BLOCK_SIZE : 2 * BLOCK_SIZE;
    uint64_t bits = htole64((uint64_t)text.size * 8);

    lane->whole = text.size / BLOCK_SIZE;
    lane->count = lane->whole + last / BLOCK_SIZE;
    lane->at = lane->whole ? text.data : lane->end;
    memset(lane->end, 0, sizeof lane->end);
    if (rest)
        memcpy(lane->end, (const unsigned char *)text.data + lane->whole * BLOCK_SIZE, rest);
    lane->end[rest] = 0x80;
    memcpy(lane->end + last - sizeof bits, &bits, sizeof bits);
}

/* Behind `done` blocks. One that is at its end stays there; what becomes of its lane matters no more. */
static void go_on(struct lane *lane, size_t done)
{
    if (done < lane->whole)
        lane->at += BLOCK_SIZE;
    else if (done < lane->count)
        lane->at = lane->end + (done - lane->whole) * BLOCK_SIZE;
}

static void read_blocks(const struct lane *lanes, size_t count, union row ret_block[WORDS])
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < WORDS; j++) {
            uint32_t word;

            memcpy(&word, lanes[i].at + j * sizeof word, sizeof word);
            ret_block[j].lanes[i] = le32toh(word);
        }
}

static void write_digest(const struct state *state, size_t lane, unsigned char ret[MD5_SIZE])
{
    const uint32_t digest[] = {htole32(state->a.lanes[lane]), htole32(state->b.lanes[lane]),
                               htole32(state->c.lanes[lane]), htole32(state->d.lanes[lane])};

    memcpy(ret, digest, sizeof digest);
}

void md5_many(const struct md5_text *texts, size_t count, unsigned char (*ret)[MD5_SIZE])
{
    union row block[WORDS] = {0};
    struct lane lanes[MD5_MANY_MOST];
    struct state state;
    size_t most = 0;

    begin(&state);
    for (size_t i = 0; i < count; i++) {
        begin_lane(&lanes[i], texts[i]);
        most = lanes[i].count > most ? lanes[i].count : most;
    }
    for (size_t done = 1; done <= most; done++) {
        read_blocks(lanes, count, block);
        add_block(&state, block);
        for (size_t i = 0; i < count; i++) {
            if (done == lanes[i].count)
                write_digest(&state, i, ret[i]);
            go_on(&lanes[i], done);
        }
    }
}
