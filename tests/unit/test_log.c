/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/journal.h"

static int file = -1, real_stderr = -1;

/* From here on stderr is a file. */
static int capture(void **state)
{
    char path[] = "/tmp/test-log-XXXXXX";

    file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    unsetenv("JOURNAL_STREAM");
    real_stderr = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    return 0;
}

static int release(void **state)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(file);
    return 0;
}

/* What was written since the last call. */
static char *written(void)
{
    static char text[1 << 20];
    ssize_t size = pread(file, text, sizeof text - 1, 0);

    text[size > 0 ? size : 0] = '\0';
    assert_int_equal(ftruncate(file, 0), 0);
    lseek(file, 0, SEEK_SET);
    return text;
}

static void numbers_of_64_bits(void **state)
{
    log_setup(LOG_INFO, LOG_JSON);
    log_event(LOG_INFO, "one", LOG_UNSIGNED("position", UINT64_MAX), LOG_NUMBER("left", INT64_MIN));
    assert_non_null(strstr(written(), "\"position\":18446744073709551615,"
                                      "\"left\":-9223372036854775808"));
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_event(LOG_INFO, "two", LOG_UNSIGNED("position", UINT64_MAX));
    assert_non_null(strstr(written(), "position=18446744073709551615"));
}

static void writes_json(void **state)
{
    json_t *line;

    log_setup(LOG_INFO, LOG_JSON);
    log_event(LOG_WARNING, "json_line", LOG_TEXT("mapping", "orders"), LOG_NUMBER("status", -500),
              LOG_TEXT("error", "a\n\"b\" \\ \033[31m \xc2\x9b \xff caf\xc3\xa9 \xe2\x80\xae"),
              LOG_TEXT("none", NULL));
    line = json_loads(written(), 0, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "json_line");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), -500);
    assert_int_equal(strlen(json_string_value(json_object_get(line, "time"))), 24);
    assert_string_equal(json_string_value(json_object_get(line, "none")), "");
    assert_int_equal(
        strncmp(json_string_value(json_object_get(line, "error")), "a\n\"b\" \\ \033[31m ", 14), 0);
    json_decref(line);
}

static void control_characters_never_get_out(void **state)
{
    static const enum log_format formats[] = {LOG_HUMAN, LOG_JSON, LOG_LOGFMT};
    char every[260];

    for (int i = 1; i < 256; i++)
        every[i - 1] = (char)i;
    strcpy(every + 255, "\xc2\x9b");
    for (int f = 0; f < 3; f++) {
        char *text;
        size_t size;

        log_setup(LOG_INFO, formats[f]);
        log_event(LOG_INFO, f == 0 ? "c0" : f == 1 ? "c1" : "c2", LOG_TEXT("error", every));
        text = written();
        size = strlen(text);
        assert_int_equal(text[size - 1], '\n');
        for (size_t i = 0; i < size - 1; i++) {
            unsigned char c = (unsigned char)text[i];

            assert_true(c >= 0x20 && c != 0x7f);
            assert_false(c == 0xc2 && (unsigned char)text[i + 1] < 0xa0);
        }
    }
}

static void writes_logfmt(void **state)
{
    char *text;

    log_setup(LOG_INFO, LOG_AUTO); /* a file is no terminal */
    log_event(LOG_ERROR, "logfmt_line", LOG_TEXT("plain", "a/b:c"), LOG_TEXT("spaced", "a b"),
              LOG_TEXT("equals", "a=b"), LOG_TEXT("empty", ""), LOG_NUMBER("number", 7));
    text = written();
    assert_int_equal(strncmp(text, "time=", 5), 0);
    assert_non_null(strstr(text, "Z level=error event=logfmt_line plain=a/b:c spaced=\"a b\" "
                                 "equals=\"a=b\" empty=\"\" number=7\n"));
}

static void writes_for_people(void **state)
{
    char *text;

    log_setup(LOG_DEBUG, LOG_HUMAN);
    log_event(LOG_DEBUG, "human_line", LOG_TEXT("mapping", "orders"));
    text = written();
    assert_int_equal(text[2], ':');
    assert_non_null(strstr(text, " DEBUG human_line mapping=orders\n"));
}

static void levels_below_are_left_out(void **state)
{
    log_setup(LOG_WARNING, LOG_LOGFMT);
    assert_true(log_enabled(LOG_ERROR));
    assert_false(log_enabled(LOG_INFO));
    log_event(LOG_INFO, "quiet", LOG_NUMBER("n", 1));
    log_write(LOG_INFO, "quiet", NULL, 0);
    assert_string_equal(written(), "");
}

static size_t lines_in(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void repetition_is_limited(void **state)
{
    log_setup(LOG_INFO, LOG_LOGFMT);
    for (int i = 0; i < 100; i++)
        log_event(LOG_ERROR, "again", LOG_TEXT("mapping", "a"), LOG_TEXT("error", "same"),
                  LOG_NUMBER("n", i));
    assert_int_equal(lines_in(written()), 5);
    log_event(LOG_ERROR, "again", LOG_TEXT("mapping", "b"), LOG_TEXT("error", "same"));
    log_event(LOG_ERROR, "again", LOG_TEXT("mapping", "a"), LOG_TEXT("error", "other"));
    log_event(LOG_ERROR, "other", LOG_TEXT("mapping", "a"), LOG_TEXT("error", "same"));
    assert_int_equal(lines_in(written()), 3);
}

static void a_long_line_stays_whole(void **state)
{
    char longest[10000];
    json_t *line;

    memset(longest, '\001', sizeof longest - 1); /* six bytes each once escaped */
    longest[sizeof longest - 1] = '\0';
    log_setup(LOG_INFO, LOG_JSON);
    log_event(LOG_INFO, "long_line", LOG_TEXT("error", longest), LOG_TEXT("mapping", "m"));
    line = json_loads(written(), 0, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "mapping")), "m");
    json_decref(line);
    memset(longest, 'x', sizeof longest - 1);
    log_event(LOG_INFO, "long_line2", LOG_TEXT("error", longest));
    line = json_loads(written(), 0, NULL);
    assert_int_equal(strlen(json_string_value(json_object_get(line, "error"))), 2051);
    json_decref(line);
}

static void *write_many(void *argument)
{
    for (int i = 0; i < 500; i++) {
        char error[32];

        snprintf(error, sizeof error, "%p %d", argument, i);
        log_event(LOG_INFO, "threads", LOG_TEXT("error", error), LOG_NUMBER("n", i));
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    pthread_t threads[3];
    char *line, *text;
    size_t count = 0;

    log_setup(LOG_INFO, LOG_JSON);
    fcntl(STDERR_FILENO, F_SETFL, O_APPEND);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, write_many, (void *)(intptr_t)(i + 1));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (text = written(); (line = strsep(&text, "\n")) && *line; count++) {
        json_t *object = json_loads(line, 0, NULL);

        assert_non_null(object);
        json_decref(object);
    }
    assert_int_equal(count, 1500);
}

/* ---- the journal ---- */

static struct sockaddr_un journal_address = {.sun_family = AF_UNIX};
static int journal = -1;

/* From here on stderr is what the journal reads, and the journal's socket is ours. */
static int be_journal(void **state)
{
    char stream[64], *path = journal_address.sun_path;
    struct stat status;

    capture(state);
    snprintf(path, sizeof journal_address.sun_path, "/tmp/test-log-%ld.sock", (long)getpid());
    journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(
        bind(journal, (struct sockaddr *)&journal_address, sizeof journal_address), 0);
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    journal_set_path(path);
    return 0;
}

static int be_no_journal(void **state)
{
    static const struct log_message_id none[] = {{NULL, NULL}};

    log_set_message_ids(none);
    close(journal);
    unlink(journal_address.sun_path);
    unsetenv("JOURNAL_STREAM");
    return release(state);
}

/* The next entry; fails where there is none. */
static char *entry(void)
{
    static char text[65536];
    ssize_t size = recv(journal, text, sizeof text - 1, 0);

    assert_true(size > 0);
    text[size] = '\0';
    return text;
}

static void the_journal_gets_fields(void **state)
{
    static const struct log_message_id ids[] = {{"other", "00000000000000000000000000000001"},
                                                {"entry", "00000000000000000000000000000002"},
                                                {NULL, NULL}};

    log_setup(LOG_INFO, LOG_AUTO);
    log_set_message_ids(ids);
    log_event(LOG_ERROR, "entry", LOG_TEXT("mapping", "orders"), LOG_NUMBER("position", -7),
              LOG_TEXT("error", "a \"b\" c\\d"));
    assert_string_equal(entry(), "MESSAGE=level=error event=entry mapping=orders position=-7 "
                                 "error=\"a \\\"b\\\" c\\\\d\"\n"
                                 "PRIORITY=3\n"
                                 "SYSLOG_IDENTIFIER=sluice\n"
                                 "MESSAGE_ID=00000000000000000000000000000002\n"
                                 "SLUICE_EVENT=entry\n"
                                 "MAPPING=orders\n"
                                 "SLUICE_POSITION=-7\n"
                                 "SLUICE_ERROR=a \"b\" c\\d\n");
    assert_string_equal(written(), "");
}

static void values_do_not_become_fields(void **state)
{
    char *text;

    log_setup(LOG_INFO, LOG_JSON);
    log_event(LOG_INFO, "forged", LOG_TEXT("error", "a\nPRIORITY=0\n\033[2J"),
              LOG_TEXT("odd name=", "1"));
    text = entry();
    assert_int_equal(strncmp(text, "MESSAGE={\"time\":", 16), 0);
    assert_non_null(strstr(text, "\nPRIORITY=6\n"));
    assert_null(strstr(text, "\nPRIORITY=0\n"));
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "\nSLUICE_ERROR=a\\nPRIORITY=0\\n\\u001b[2J\n"));
    assert_non_null(strstr(text, "\nSLUICE_ODD_NAME_=1\n"));
    assert_null(strstr(text, "MESSAGE_ID"));
}

static void an_entry_has_a_bound(void **state)
{
    char longest[10000], *text;
    size_t size;

    memset(longest, '\001', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    log_setup(LOG_INFO, LOG_AUTO);
    log_event(LOG_INFO, "much", LOG_TEXT("a", longest), LOG_TEXT("b", longest),
              LOG_TEXT("c", longest), LOG_TEXT("mapping", "m"));
    text = entry();
    size = strlen(text);
    assert_true(size > 12000 && size < 32768);
    assert_int_equal(text[size - 1], '\n');
    assert_non_null(strstr(text, "\nSLUICE_A="));
    assert_null(strstr(text, "\nSLUICE_B="));
    assert_non_null(strstr(text, "\nMAPPING=m\n"));
}

static void stderr_gets_what_the_journal_does_not_take(void **state)
{
    log_setup(LOG_INFO, LOG_AUTO);
    unlink(journal_address.sun_path);
    log_event(LOG_WARNING, "untaken", LOG_TEXT("mapping", "orders"));
    assert_string_equal(written(), "<4>level=warning event=untaken mapping=orders\n");
}

static void another_stderr_is_no_journal(void **state)
{
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_setup(LOG_INFO, LOG_AUTO);
    log_event(LOG_WARNING, "elsewhere", LOG_TEXT("mapping", "orders"));
    assert_int_equal(strncmp(written(), "time=", 5), 0);
    assert_int_equal(recv(journal, &(char){0}, 1, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_of_64_bits, capture, release),
        cmocka_unit_test_setup_teardown(writes_json, capture, release),
        cmocka_unit_test_setup_teardown(control_characters_never_get_out, capture, release),
        cmocka_unit_test_setup_teardown(writes_logfmt, capture, release),
        cmocka_unit_test_setup_teardown(writes_for_people, capture, release),
        cmocka_unit_test_setup_teardown(levels_below_are_left_out, capture, release),
        cmocka_unit_test_setup_teardown(repetition_is_limited, capture, release),
        cmocka_unit_test_setup_teardown(a_long_line_stays_whole, capture, release),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, capture, release),
        cmocka_unit_test_setup_teardown(the_journal_gets_fields, be_journal,
                                        be_no_journal),
        cmocka_unit_test_setup_teardown(values_do_not_become_fields, be_journal,
                                        be_no_journal),
        cmocka_unit_test_setup_teardown(an_entry_has_a_bound, be_journal,
                                        be_no_journal),
        cmocka_unit_test_setup_teardown(stderr_gets_what_the_journal_does_not_take, be_journal,
                                        be_no_journal),
        cmocka_unit_test_setup_teardown(another_stderr_is_no_journal, be_journal,
                                        be_no_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
