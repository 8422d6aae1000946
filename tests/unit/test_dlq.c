/* SPDX-License-Identifier: MIT
 * What a person and a script see of `sluice dlq`. */
#define _GNU_SOURCE
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "io/dead_letter_store.h"

struct fixture {
    char directory[64];
    char ids[4][27];
    char output[1 << 18], errors[1 << 14];
};

static const struct sluice_header headers[2] = {{{"trace-id", 8}, {"abc\033[2J", 7}},
                                                {{"gone", 4}, {NULL, 0}}};
static const struct dead_letter_attempt attempts[2] = {
    {INT64_C(1700000000000000), 12500, 500, 100, "failed", "order 17 \033]0;title\007 failed"},
    {INT64_C(1700000001000000), 30000000, 0, 1, "failed", "connection reset"}};

static struct dead_letter base(int64_t dead)
{
    struct dead_letter letter = {
        .mapping = "orders",
        .revision = "0123456789abcdef",
        .connector = "kafka",
        .lane = "orders/3",
        .source = "orders",
        .partition = 3,
        .position = 1507,
        .message_wall_us = dead - CLOCK_MINUTE,
        .token = "orders/3/1507",
        .key = {"customer-9", 10},
        .payload = {"{\"id\":17,\"total\":1.10,\"tags\":[],\"at\":[1,{}]}", 44},
        .headers = headers,
        .header_count = 2,
        .class = DEAD_ATTEMPTS,
        .reason = "HTTP 500: order 17 \033[31mfailed\n\xc2\x9b"
                  "1m",
        .status = 500,
        .response = {"boom", 4},
        .attempts = attempts,
        .attempts_kept = 2,
        .attempt_count = 5,
        .first_wall_us = dead - CLOCK_MINUTE,
        .last_wall_us = dead,
        .dead_wall_us = dead};

    return letter;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

static int setup_empty(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    unsetenv("STATE_DIRECTORY");
    unsetenv("COLUMNS");
    strcpy(fixture->directory, "/tmp/test-dlq-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    *state = fixture;
    return 0;
}

/* Four letters, oldest first: two of orders 3 h ago, one with binary payload 1 h ago, one of
 * payments just now. */
static int setup(void **state)
{
    static const unsigned char binary[] = {0,  1,  2,   255, 'a', 'b', 27, '[', 'H',
                                           10, 13, 200, 0,   0,   7,   8,  9};
    struct dead_letter_store *store;
    struct dead_letter letters[4];
    struct fixture *fixture;
    struct fault fault;

    setup_empty(state);
    fixture = *state;
    letters[0] = base(clock_wall() - 3 * CLOCK_HOUR);
    letters[1] = base(letters[0].dead_wall_us + 5);
    letters[1].position = 1508;
    letters[1].reason = "HTTP 500: order 18 failed";
    letters[1].payload = (struct sluice_bytes){NULL, 0};
    letters[2] = base(clock_wall() - CLOCK_HOUR);
    letters[2].position = 1509;
    letters[2].class = DEAD_POISON;
    letters[2].status = 422;
    letters[2].reason = "HTTP 422";
    letters[2].payload = (struct sluice_bytes){binary, sizeof binary};
    letters[3] = base(clock_wall());
    letters[3].mapping = "payments";
    letters[3].class = DEAD_AGE;
    letters[3].status = 0;
    letters[3].reason = "no answer within 30s";
    letters[3].payload = (struct sluice_bytes){"plain text\nof two lines", 23};
    store = dead_letter_store_sqlite_open(fixture->directory, DEAD_LETTER_WRITE, &fault);
    assert_non_null(store);
    assert_int_equal(store->ops->add(store, letters, 4, &fault), 0);
    store->ops->close(store);
    for (int i = 0; i < 4; i++)
        strcpy(fixture->ids[i], letters[i].id);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    nftw(fixture->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

static void slurp(int fd, char *text, size_t room)
{
    size_t size = 0;
    ssize_t got;

    while (size < room - 1 &&
           ((got = read(fd, text + size, room - 1 - size)) > 0 || (got < 0 && errno == EINTR)))
        size += got > 0 ? (size_t)got : 0;
    text[size] = '\0';
}

/* Runs `sluice dlq WORDS --state DIRECTORY` with stdout being `out`. */
static int run_to(struct fixture *fixture, int out, const char *words)
{
    char *text = strdup(words), *word, *rest = text, *argv[32] = {"dlq"};
    char path[] = "/tmp/test-dlq-errors-XXXXXX";
    int saved_out = dup(STDOUT_FILENO), saved_error = dup(STDERR_FILENO), errors = mkstemp(path);
    int saved_in = dup(STDIN_FILENO), nothing = open("/dev/null", O_RDONLY);
    int argc = 1, code;

    unlink(path);
    while ((word = strsep(&rest, " ")) != NULL)
        if (*word)
            argv[argc++] = strcmp(word, "NAME") == 0 ? "a mapping" : word;
    argv[argc++] = "--state";
    argv[argc++] = fixture->directory;
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    dup2(nothing, STDIN_FILENO);
    close(nothing);
    code = cmd_dlq(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_error, STDERR_FILENO);
    dup2(saved_in, STDIN_FILENO);
    close(saved_in);
    close(saved_out);
    close(saved_error);
    lseek(errors, 0, SEEK_SET);
    slurp(errors, fixture->errors, sizeof fixture->errors);
    close(errors);
    free(text);
    return code;
}

static int run(struct fixture *fixture, const char *words)
{
    char path[] = "/tmp/test-dlq-output-XXXXXX";
    int out = mkstemp(path), code;

    unlink(path);
    code = run_to(fixture, out, words);
    lseek(out, 0, SEEK_SET);
    slurp(out, fixture->output, sizeof fixture->output);
    close(out);
    return code;
}

static int run_with_id(struct fixture *fixture, const char *words, int letter)
{
    char all[256];

    snprintf(all, sizeof all, "%s %s", words, fixture->ids[letter]);
    return run(fixture, all);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static void has_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' is in:\n%s", part, text);
}

static void no_store_is_no_error(void **state)
{
    struct fixture *fixture = *state;
    static const char *const commands[] = {"", "ls", "stats"};

    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(fixture, commands[i]), EX_OK);
        has(fixture->output, "No dead letters yet in /tmp/test-dlq-");
    }
    assert_int_equal(run(fixture, "ls --json"), EX_OK);
    assert_string_equal(fixture->output, "");
    assert_int_equal(run(fixture, "show 01ABC"), EX_DATAERR);
    strcat(fixture->directory, "/missing");
    assert_int_equal(run(fixture, ""), EX_OK);
    has(fixture->output, "no such directory");
    *strrchr(fixture->directory, '/') = '\0';
}

static void the_summary_tells_what_there_is(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(run(fixture, ""), EX_OK);
    has(fixture->output, "4 dead letters in /tmp/test-dlq-");
    has(fixture->output, "orders: 3, since 3h ago, the newest 60m ago");
    has(fixture->output, "payments: 1, since ");
    has(fixture->output, "  HTTP 422\n");
    has(fixture->output, "no answer within #s");
    has(fixture->output, "sluice dlq ls orders");
    has(fixture->output, fixture->ids[2]);
    assert_int_equal(run(fixture, "--json"), EX_OK);
    has(fixture->output, "{\"mapping\":\"orders\",\"count\":3,");
}

static void lists_by_choice(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(run(fixture, "ls"), EX_OK);
    for (int i = 0; i < 4; i++)
        has(fixture->output, fixture->ids[i]);
    assert_true(strstr(fixture->output, fixture->ids[3]) <
                strstr(fixture->output, fixture->ids[0]));
    has(fixture->output, "MAPPING");
    has(fixture->output, "HTTP 500: order 17 \\x1b[31mfailed\\n\\xc2\\x9b1m\n");
    assert_int_equal(run(fixture, "ls orders --since 2h"), EX_OK);
    has(fixture->output, fixture->ids[2]);
    has_not(fixture->output, fixture->ids[0]);
    has_not(fixture->output, fixture->ids[3]);
    has_not(fixture->output, "MAPPING");
    assert_int_equal(run(fixture, "ls --class poison --status 422"), EX_OK);
    has(fixture->output, fixture->ids[2]);
    has_not(fixture->output, fixture->ids[1]);
    assert_int_equal(run(fixture, "ls --until 2001-02-03"), EX_OK);
    assert_string_equal(fixture->output, "No dead letters match.\n");
    assert_int_equal(run(fixture, "ls -n 1"), EX_OK);
    has(fixture->errors, "3 more");
}

static void json_is_one_object_a_line(void **state)
{
    struct fixture *fixture = *state;
    char *line, *rest = fixture->output;
    int count = 0;

    assert_int_equal(run(fixture, "ls --json"), EX_OK);
    while ((line = strsep(&rest, "\n")) && *line) {
        json_t *object = json_loads(line, 0, NULL);

        assert_non_null(object);
        assert_string_equal(json_string_value(json_object_get(object, "id")),
                            fixture->ids[3 - count]);
        json_decref(object);
        count++;
    }
    assert_int_equal(count, 4);
}

static void show_tells_the_whole_story(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(run_with_id(fixture, "show", 0), EX_OK);
    has(fixture->output, "attempts: it failed as often as retry.attempts allows");
    has(fixture->output, "orders/3 at 1507 (kafka)");
    has(fixture->output, "Attempts: 5, the last 2");
    has(fixture->output, "connection reset");
    has(fixture->output, "trace-id: abc\\x1b[2J");
    has(fixture->output, "gone: (absent)");
    has(fixture->output, "customer-9");
    has(fixture->output,
        "    \"total\": 1.10,\n    \"tags\": [],\n    \"at\": [\n      1,\n      {}\n");
    has_not(fixture->output, "\033");
    has_not(fixture->output, "\007");
    assert_int_equal(run_with_id(fixture, "show", 1), EX_OK);
    has(fixture->output, "Payload: absent");
    assert_int_equal(run_with_id(fixture, "show", 2), EX_OK);
    has(fixture->output,
        "00000000  00 01 02 ff 61 62 1b 5b  48 0a 0d c8 00 00 07 08  ....ab.[H.......");
    assert_int_equal(run_with_id(fixture, "show", 3), EX_OK);
    has(fixture->output, "  plain text\n  of two lines\n");
}

static void show_prints_parts_for_scripts(void **state)
{
    struct fixture *fixture = *state;
    json_t *object;

    assert_int_equal(run_with_id(fixture, "show --payload", 3), EX_OK);
    assert_string_equal(fixture->output, "plain text\nof two lines");
    assert_int_equal(run_with_id(fixture, "show --headers", 3), EX_OK);
    assert_string_equal(fixture->output, "trace-id: abc\\x1b[2J\ngone: (absent)\n");
    assert_int_equal(run_with_id(fixture, "show --json", 2), EX_OK);
    object = json_loads(fixture->output, 0, NULL);
    assert_non_null(object);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(object, "payload"), "base64")),
        "AAEC/2FiG1tICg3IAAAHCAk=");
    assert_int_equal(json_array_size(json_object_get(object, "attempts")), 2);
    assert_int_equal(json_integer_value(json_object_get(object, "position")), 1509);
    json_decref(object);
}

static void a_prefix_of_an_id_will_do(void **state)
{
    struct fixture *fixture = *state;
    char words[64];

    snprintf(words, sizeof words, "show %.10s", fixture->ids[3]);
    for (char *at = words; *at; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
    assert_int_equal(run(fixture, words), EX_OK);
    has(fixture->output, fixture->ids[3]);
    snprintf(words, sizeof words, "show %.6s", fixture->ids[0]);
    assert_int_equal(run(fixture, words), EX_DATAERR);
    has(fixture->errors, "ambiguous");
    has(fixture->errors, fixture->ids[0]);
    has(fixture->errors, fixture->ids[1]);
    assert_int_equal(run(fixture, "show 7ZZZZZZZ"), EX_DATAERR);
    has(fixture->errors, "no dead letter's id begins with");
}

static void stats_group(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(run(fixture, "stats"), EX_OK);
    has(fixture->output, "HTTP 422");
    has(fixture->output, "HTTP 500: order # failed");
    assert_int_equal(run(fixture, "stats --by class orders --json"), EX_OK);
    has(fixture->output, "{\"class\":\"attempts\",\"count\":2,");
    assert_int_equal(run(fixture, "stats --by status -n 1"), EX_OK);
    has(fixture->output, " 500\n");
    has_not(fixture->output, " 422\n");
}

static void mistakes_are_told(void **state)
{
    static const struct {
        const char *words, *told;
    } cases[] = {
        {"lst", "did you mean ls"},
        {"ls --class poisen", "did you mean poison"},
        {"ls --status abc", "HTTP status"},
        {"ls --since yesterday", "2h (ago)"},
        {"ls --since 2026-13-45", "no time"},
        {"ls --limit -1", "0 for all"},
        {"ls a b", "one mapping"},
        {"stats --by errors", "did you mean error"},
        {"show", "one id"},
        {"show ../x", "no id"},
        {"show --colour 0", "unknown option"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run(fixture, cases[i].words), EX_USAGE);
        has(fixture->errors, cases[i].told);
    }
}

static void help_has_examples(void **state)
{
    static const char *const commands[] = {"--help", "ls --help", "show --help", "stats --help"};
    struct fixture *fixture = *state;

    for (int i = 0; i < 4; i++) {
        assert_int_equal(run(fixture, commands[i]), EX_OK);
        has(fixture->output, "Examples:\n  sluice dlq");
    }
}

static void a_damaged_store_is_told(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
    file = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database ", file);
    fclose(file);
    assert_int_equal(run(fixture, ""), EX_IOERR);
    has(fixture->errors, path);
    has(fixture->errors, "damaged");
}

/* On a terminal: colours of ours, no control of theirs, and nothing wider than it is. */
static void a_terminal_is_not_harmed(void **state)
{
    static const char *const commands[] = {"", "ls", "stats", "show"};
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct fixture *fixture = *state;

    setenv("TERM", "xterm", 1);
    for (int i = 0; i < 4; i++) {
        int master = posix_openpt(O_RDWR | O_NOCTTY), terminal;
        char words[64];
        pid_t child;

        assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
        terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
        assert_true(terminal >= 0);
        ioctl(terminal, TIOCSWINSZ, &size);
        snprintf(words, sizeof words, "%s %s", commands[i], i == 3 ? fixture->ids[2] : "");
        child = fork();
        if (child == 0)
            _exit(run_to(fixture, terminal, words));
        close(terminal);
        slurp(master, fixture->output, sizeof fixture->output);
        close(master);
        waitpid(child, NULL, 0);
        assert_true(strlen(fixture->output) > 0);
        for (const char *at = fixture->output; (at = strchr(at, '\033')) != NULL; at++)
            assert_true(at[1] == '[' && at[1 + strspn(at + 1, "[0123456789;")] == 'm');
        has_not(fixture->output, "\007");
        has_not(fixture->output, "\xc2\x9b");
        if (i == 3)
            continue;
        for (char *line = strtok(fixture->output, "\r\n"); line; line = strtok(NULL, "\r\n")) {
            unsigned width = 0;

            for (const char *at = line; *at; at++) {
                if (*at == '\033')
                    at += strcspn(at, "m");
                else
                    width += (*at & 0xc0) != 0x80;
            }
            if (width > 80)
                fail_msg("%u columns: %s", width, line);
        }
    }
}

static void filters_are_shared(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(run(fixture, "ls --status 4xx"), EX_OK);
    has(fixture->output, fixture->ids[2]);
    has_not(fixture->output, fixture->ids[0]);
    assert_int_equal(run(fixture, "ls --status none --attempts 5"), EX_OK);
    has(fixture->output, fixture->ids[3]);
    has_not(fixture->output, fixture->ids[2]);
    assert_int_equal(run(fixture, "stats --by mapping --error order.1[78] --json"), EX_OK);
    has(fixture->output, "\"mapping\":\"orders\",\"count\":2");
    assert_int_equal(run(fixture, "ls --key hex:637573746f6d65722d39 --sort oldest -n 1"), EX_OK);
    has(fixture->output, fixture->ids[0]);
    assert_int_equal(run(fixture, "ls --never-replayed --token orders/3/1507 -n 0"), EX_OK);
    has(fixture->output, fixture->ids[3]);
    assert_int_equal(run(fixture, "ls --replayed"), EX_OK);
    assert_string_equal(fixture->output, "No dead letters match.\n");
    assert_int_equal(run(fixture, "ls --where {\"id\":[17],\"total\":[{\"numeric\":[\"=\",1.1]}]}"), EX_OK);
    has(fixture->output, fixture->ids[0]);
    has_not(fixture->output, fixture->ids[1]);
    has_not(fixture->output, fixture->ids[2]);
    assert_int_equal(
        run(fixture, "stats --by mapping --where {\"at\":{\"x\":[{\"exists\":false}]}} --json"),
        EX_OK);
    has(fixture->output, "\"mapping\":\"orders\",\"count\":2");
    assert_int_equal(run(fixture, "ls --where [{\"prefix\":\"plain\"}]"), EX_OK);
    has(fixture->output, fixture->ids[3]);
    has_not(fixture->output, fixture->ids[0]);
    assert_int_equal(run(fixture, "ls --where {\"id\":[18]}"), EX_OK);
    assert_string_equal(fixture->output, "No dead letters match.\n");
    assert_int_equal(run(fixture, "ls --where {\"id\":17}"), EX_USAGE);
    assert_int_equal(run(fixture, "ls --where {\"id\":["), EX_USAGE);
    assert_int_equal(run(fixture, "ls --error a(b"), EX_USAGE);
    assert_int_equal(run(fixture, "ls --attempts x"), EX_USAGE);
    assert_int_equal(run(fixture, "ls --key hex:zz"), EX_USAGE);
    assert_int_equal(run(fixture, "ls --sort colour"), EX_USAGE);
    assert_int_equal(run(fixture, "ls orders --mapping orders"), EX_USAGE);
}

static void discards_what_was_chosen(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(run(fixture, "discard"), EX_USAGE);
    has(fixture->errors, "which ones?");
    assert_int_equal(run(fixture, "discard --mapping orders"), EX_USAGE);
    has(fixture->errors, "--yes");
    assert_int_equal(run(fixture, "discard orders --yes"), EX_USAGE);
    has(fixture->errors, "--mapping");
    assert_int_equal(run(fixture, "discard --mapping nobody --yes"), 1);
    assert_int_equal(run(fixture, "discard --mapping orders --status 500 --dry-run"), EX_OK);
    has(fixture->output, "2 dead letters would be discarded");
    assert_int_equal(run_with_id(fixture, "discard --yes", 3), EX_OK);
    has(fixture->output, "1 dead letter discarded.");
    assert_int_equal(run(fixture, "discard --mapping orders --status 500 --yes --json"), EX_OK);
    has(fixture->output, "\"discarded\":2");
    assert_int_equal(run(fixture, "ls"), EX_OK);
    has(fixture->output, fixture->ids[2]);
    has_not(fixture->output, fixture->ids[1]);
    assert_int_equal(run_with_id(fixture, "discard --yes", 3), EX_DATAERR);
    assert_int_equal(run(fixture, "log"), EX_OK);
    has(fixture->output, "--mapping orders --status 500 --yes");
    assert_int_equal(run(fixture, "log --json -n 1"), EX_OK);
    has(fixture->output, "\"action\":\"discard\"");
    has(fixture->output, "\"count\":2");
}

static void exports_and_imports_all_of_it(void **state)
{
    struct fixture *fixture = *state;
    char words[256], first[64], *before;
    FILE *file;

    assert_int_equal(run_with_id(fixture, "edit --set /id=18 --yes", 0), EX_OK);
    assert_int_equal(run(fixture, "export"), EX_OK);
    before = strdup(fixture->output);
    snprintf(words, sizeof words, "%s/letters", fixture->directory);
    file = fopen(words, "w");
    fputs(before, file);
    fclose(file);
    strcpy(first, fixture->directory);
    snprintf(words, sizeof words, "import %s/letters", first);
    strcat(fixture->directory, "/other");
    assert_int_equal(run(fixture, words), EX_OK);
    has(fixture->output, "4 dead letters imported, 0 were there already.");
    assert_int_equal(run(fixture, words), EX_OK);
    has(fixture->output, "0 dead letters imported, 4 were there already.");
    assert_int_equal(run(fixture, "export"), EX_OK);
    assert_string_equal(fixture->output, before);
    free(before);
    assert_int_equal(run(fixture, "discard --all --yes"), EX_OK);
    snprintf(words, sizeof words, "%s/letters", first);
    file = fopen(words, "a");
    fputs("\n{\"mapping\": \"orders\"}\n", file);
    fclose(file);
    snprintf(words, sizeof words, "import %s/letters", first);
    assert_int_equal(run(fixture, words), EX_DATAERR);
    has(fixture->errors, "line 6: \"lane\" is missing, expected text; nothing was imported");
    assert_int_equal(run(fixture, "ls --json"), EX_OK);
    assert_string_equal(fixture->output, "");
    strcpy(fixture->directory, first);
}

static void edits_in_an_editor_and_many_at_once(void **state)
{
    struct fixture *fixture = *state;
    char *kept;

    setenv("EDITOR", "sed -i s/17/18/", 1);
    unsetenv("VISUAL");
    assert_int_equal(run_with_id(fixture, "edit", 0), EX_USAGE); /* nobody to ask */
    has(fixture->output, "-  \"id\": 17,\n  +  \"id\": 18,");
    assert_int_equal(run_with_id(fixture, "edit --yes", 0), EX_OK);
    assert_int_equal(run_with_id(fixture, "show --payload", 0), EX_OK);
    assert_string_equal(fixture->output, "{\"id\":18,\"total\":1.10,\"tags\":[],\"at\":[1,{}]}");
    assert_int_equal(run_with_id(fixture, "show", 0), EX_OK);
    has(fixture->output, "Original payload: 44 bytes, JSON");
    assert_int_equal(run_with_id(fixture, "edit --yes", 0), EX_OK);
    has(fixture->output, "Nothing was changed.");
    setenv("EDITOR", "echo x >", 1);
    assert_int_equal(run_with_id(fixture, "edit --yes", 0), EX_DATAERR);
    has(fixture->errors, "not JSON any more");
    has(fixture->errors, "is kept in /");
    kept = strstr(fixture->errors, "kept in ") + 8;
    kept[strcspn(kept, "\n") - 1] = '\0';
    assert_int_equal(unlink(kept), 0);
    setenv("EDITOR", "false", 1);
    assert_int_equal(run_with_id(fixture, "edit --yes", 0), EX_UNAVAILABLE);
    unsetenv("EDITOR");
    /* Only one of the four has JSON; a tombstone, bytes and text have not. */
    assert_int_equal(run(fixture, "edit --all --set /id=x --yes --json"), 2);
    has(fixture->output, "\"edited\":1,\"unchanged\":0,\"failed\":3");
    has(fixture->errors, "it is not JSON");
    assert_int_equal(run_with_id(fixture, "show --payload", 0), EX_OK);
    has(fixture->output, "{\"id\":\"x\",");
    assert_int_equal(run(fixture, "edit --set id=x --all"), EX_USAGE);
    assert_int_equal(run(fixture, "edit --set /id=x"), EX_USAGE);
}

#define WITH(test, make) cmocka_unit_test_setup_teardown(test, make, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(filters_are_shared, setup),
        WITH(discards_what_was_chosen, setup),
        WITH(exports_and_imports_all_of_it, setup),
        WITH(edits_in_an_editor_and_many_at_once, setup),
        WITH(no_store_is_no_error, setup_empty),
        WITH(the_summary_tells_what_there_is, setup),
        WITH(lists_by_choice, setup),
        WITH(json_is_one_object_a_line, setup),
        WITH(show_tells_the_whole_story, setup),
        WITH(show_prints_parts_for_scripts, setup),
        WITH(a_prefix_of_an_id_will_do, setup),
        WITH(stats_group, setup),
        WITH(mistakes_are_told, setup),
        WITH(help_has_examples, setup),
        WITH(a_damaged_store_is_told, setup_empty),
        WITH(a_terminal_is_not_harmed, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
