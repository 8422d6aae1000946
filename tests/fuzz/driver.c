/* SPDX-License-Identifier: MIT
 * Runs a fuzz target without a fuzzer: over its seeds, over all beginnings of them, and over mutations
 * that SLUICE_SEED decides. SLUICE_FUZZ_SECONDS: how long, 1 unless given. Arguments: files to run
 * instead (what a fuzzer found). What stops the program is left in the file `input`. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SEEDS_MOST 200
#define INPUT_MOST (64 << 10)

struct input {
    uint8_t *data;
    size_t size;
};

static struct input seeds[SEEDS_MOST];
static size_t seed_count;
static struct input current;
static uint64_t dice;

/* A sanitizer's, where there is one. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static void keep_input(void)
{
    int file = open("input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char text[17];

    if (file < 0 || write(file, current.data, current.size) < 0)
        return;
    close(file);
    for (size_t i = 0; i < current.size && i < 2000; i++) {
        int size = snprintf(text, sizeof text, "%02x", current.data[i]);

        if (write(STDERR_FILENO, text, (size_t)size) < 0)
            return;
    }
    if (write(STDERR_FILENO, "\n", 1) < 0)
        return;
}

static void on_signal(int number)
{
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

/* cmocka sets handlers of its own for each test. */
static void watch_signals(void)
{
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_input);
}

static void run(const uint8_t *data, size_t size)
{
    current = (struct input){malloc(size ? size : 1), size};
    memcpy(current.data, data, size);
    assert_int_equal(LLVMFuzzerTestOneInput(current.data, size), 0);
    free(current.data);
}

static struct input read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct input input = {malloc(INPUT_MOST), 0};

    if (!file)
        fail_msg("%s cannot be read", path);
    input.size = fread(input.data, 1, INPUT_MOST, file);
    fclose(file);
    return input;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_seeds(void)
{
    struct dirent **entries;
    int count = scandir(FUZZ_SEEDS, &entries, NULL, by_name);

    for (int i = 0; i < count; i++) {
        char path[4096];

        snprintf(path, sizeof path, "%s/%s", FUZZ_SEEDS, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && seed_count < SEEDS_MOST)
            seeds[seed_count++] = read_file(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (!seed_count)
        fail_msg("no seeds in %s", FUZZ_SEEDS);
}

static uint64_t draw(uint64_t below)
{
    dice ^= dice << 13; /* xorshift64 */
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice % below;
}

/* ---- mutations: each changes `input`, which has room for INPUT_MOST ---- */

static void insert(struct input *input, size_t at, const uint8_t *data, size_t size)
{
    if (size > INPUT_MOST - input->size)
        size = INPUT_MOST - input->size;
    memmove(input->data + at + size, input->data + at, input->size - at);
    memmove(input->data + at, data, size);
    input->size += size;
}

static void drop(struct input *input, size_t at, size_t size)
{
    if (size > input->size - at)
        size = input->size - at;
    memmove(input->data + at, input->data + at + size, input->size - at - size);
    input->size -= size;
}

static void mutate(struct input *input)
{
    static const char *const words[] = {
        "{", "}", "[", "]", "\"", ",", ":", "null", "true", "-1", "0", "1e999", "18446744073709551616",
        "\\u0000", "\\ud800", "\xff", "\xed\xa0\x80", "\n", "\r\n", "{}", "[]", "\"\"", "&a ", "*a", "<<: ", "!env "};
    size_t at = draw(input->size + 1), size = 1 + draw(draw(4) ? 8 : 200);
    const struct input *other = &seeds[draw(seed_count)];
    const char *word = words[draw(sizeof words / sizeof *words)];
    uint8_t piece[200];

    switch (draw(7)) {
    case 0:
        if (input->size)
            input->data[at % input->size] ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        if (input->size)
            input->data[at % input->size] = (uint8_t)draw(256);
        break;
    case 2:
        drop(input, at, size);
        break;
    case 3: /* again what is there */
        if (size > input->size - at)
            size = input->size - at;
        memcpy(piece, input->data + at, size);
        insert(input, at, piece, size);
        break;
    case 4: /* a piece of another seed */
        if (other->size) {
            size_t from = draw(other->size);

            insert(input, at, other->data + from, size < other->size - from ? size : other->size - from);
        }
        break;
    case 5:
        insert(input, at, (const uint8_t *)word, strlen(word));
        break;
    default:
        input->size = at;
    }
}

/* ---- tests ---- */

static void test_seeds_and_their_beginnings(void **state)
{
    watch_signals();
    for (size_t i = 0; i < seed_count; i++) {
        size_t step = 1 + seeds[i].size / 500;

        run(seeds[i].data, seeds[i].size);
        for (size_t size = 0; size < seeds[i].size; size += step)
            run(seeds[i].data, size);
    }
}

static void test_mutations(void **state)
{
    const char *given = getenv("SLUICE_SEED"), *seconds = getenv("SLUICE_FUZZ_SECONDS");
    struct input input = {malloc(INPUT_MOST), 0};
    time_t end = time(NULL) + (seconds ? atoi(seconds) : 1);
    unsigned long rounds = 0;

    watch_signals();
    dice = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    dice += !dice;
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)dice);
    for (; time(NULL) <= end; rounds++) {
        const struct input *seed = &seeds[draw(seed_count)];

        memcpy(input.data, seed->data, input.size = seed->size);
        for (uint64_t changes = 1 + draw(8); changes; changes--)
            mutate(&input);
        run(input.data, input.size);
    }
    print_message("%lu mutations\n", rounds);
    free(input.data);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_and_their_beginnings),
        cmocka_unit_test(test_mutations),
    };

    watch_signals();
    for (int i = 1; i < argc; i++) {
        struct input input = read_file(argv[i]);

        run(input.data, input.size);
        free(input.data);
    }
    if (argc > 1)
        return 0;
    read_seeds();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
