/* SPDX-License-Identifier: MIT
 * "Did you mean": the nearest of some words to a mistyped one. */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

struct suggest {
    const char *word;
    const char *nearest; /* among those offered; NULL: none is near enough */
    unsigned distance;
};

static inline struct suggest suggest_begin(const char *word)
{
    return (struct suggest){.word = word};
}

/* Keeps `candidate` if it is nearer than those before; it is borrowed. Near enough is one edit for
 * every three letters, where swapped neighbours are one edit, or one word being the start of the
 * other. */
void suggest_offer(struct suggest *suggest, const char *candidate);

#endif
