/* SPDX-License-Identifier: MIT
 * What only the embedded token store promises: files, other processes, full and damaged disks. */
#define _GNU_SOURCE
#include "token_store_fixture.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void all_is_there_after_reopening(void **state)
{
    struct fixture *fixture = *state;
    char token[32];

    for (int i = 0; i < 200; i++) {
        snprintf(token, sizeof token, "%d", i);
        put_one(fixture, i % 2 ? "orders" : "payments", token, T0, (1 + i % 40) * HOUR);
    }
    assert_int_equal(put_lane(fixture, "orders", "orders/0", "value", CLOCK_NEVER), 0);
    close_store(fixture);
    open_store(fixture);
    for (int i = 0; i < 200; i++) {
        snprintf(token, sizeof token, "%d", i);
        assert_int_equal(find(fixture, i % 2 ? "orders" : "payments", token, T0), 1);
        assert_int_equal(find(fixture, i % 2 ? "payments" : "orders", token, T0), 0);
    }
    assert_string_equal(lane(fixture, "orders", "orders/0", T0), "value");
    put_one(fixture, "third", "x", T0, HOUR);
    assert_int_equal(find(fixture, "orders", "x", T0), 0);
}

/* Ttls that no bucket was made for, more of them than there are buckets. */
static void odd_expiries_are_kept(void **state)
{
    struct fixture *fixture = *state;
    char token[32];

    for (int i = 0; i < 400; i++) {
        snprintf(token, sizeof token, "%d", i);
        put_one(fixture, "orders", token, T0 + i * HOUR, (i % 7 ? i : i * 500) * HOUR + 1);
        assert_int_equal(find(fixture, "orders", token, T0 + i * HOUR), 1);
    }
    for (int i = 0; i < 400; i++) {
        snprintf(token, sizeof token, "%d", i);
        assert_int_equal(
            find(fixture, "orders", token, T0 + i * HOUR + (i % 7 ? i : i * 500) * HOUR), 1);
    }
    put_one(fixture, "orders", "for ever", T0, CLOCK_NEVER - T0);
    assert_int_equal(find(fixture, "orders", "for ever", T0 + 1000000 * HOUR), 1);
}

static void another_process_is_refused_by_pid(void **state)
{
    struct fixture *fixture = *state;
    int tell[2], status;
    char text[600] = "", pid[32];
    pid_t child;

    assert_int_equal(pipe(tell), 0);
    child = fork();
    if (child == 0) {
        struct fault fault = {"opened"};

        token_store_lmdb_open(fixture->directory, 64 * MIB, HOUR, &fault);
        status = write(tell[1], fault.text, strlen(fault.text)) < 0;
        _exit(status);
    }
    close(tell[1]);
    assert_true(read(tell[0], text, sizeof text - 1) > 0);
    close(tell[0]);
    waitpid(child, &status, 0);
    snprintf(pid, sizeof pid, "pid %d", (int)getpid());
    assert_non_null(strstr(text, pid));
    assert_non_null(strstr(text, fixture->directory));
}

static void set_version(const char *directory, const char *version)
{
    char path[128];
    MDB_val key = {7, "version"}, value = {strlen(version), (void *)version};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta;

    snprintf(path, sizeof path, "%s/tokens.mdb", directory);
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 4);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", MDB_CREATE, &meta), 0);
    assert_int_equal(mdb_put(txn, meta, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void refused(struct fixture *fixture, const char *what, const char *cure)
{
    struct token_store *store =
        token_store_lmdb_open(fixture->directory, 64 * MIB, HOUR, &fixture->fault);

    assert_null(store);
    if (!strstr(fixture->fault.text, what) || !strstr(fixture->fault.text, cure))
        fail_msg("'%s' names neither '%s' nor '%s'", fixture->fault.text, what, cure);
}

static void a_newer_version_is_refused(void **state)
{
    struct fixture *fixture = *state;

    open_store(fixture);
    close_store(fixture);
    set_version(fixture->directory, "2");
    refused(fixture, "format 2", "install");
    set_version(fixture->directory, "1");
    open_store(fixture);
}

static char *data_path(struct fixture *fixture)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/tokens.mdb", fixture->directory);
    return path;
}

static void a_damaged_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char junk[8192];
    int fd;

    open_store(fixture);
    for (int i = 0; i < 20; i++)
        put_one(fixture, "orders", "a", T0 + i * HOUR, HOUR);
    close_store(fixture);
    /* Cut short: reading it would be SIGBUS. */
    assert_int_equal(truncate(data_path(fixture), 12288), 0);
    refused(fixture, "cut short", "move it away");
    memset(junk, 0x5a, sizeof junk);
    fd = open(data_path(fixture), O_WRONLY);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk);
    close(fd);
    refused(fixture, "damaged", "move it away");
}

static void a_read_only_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    int status;
    pid_t child;

    assert_int_equal(chmod(fixture->directory, 0555), 0);
    child = fork(); /* root may write anywhere, so become nobody */
    if (child == 0) {
        if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        refused(fixture, fixture->directory, "must own its state directory");
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void files_are_private(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;

    umask(0);
    strcat(fixture->directory, "/state");
    open_store(fixture);
    assert_int_equal(stat(fixture->directory, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(data_path(fixture), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    close_store(fixture);
    nftw(fixture->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    *strrchr(fixture->directory, '/') = '\0';
}

/* Puts bulky transactions until one is refused. Returns how many were taken. */
static int fill(struct fixture *fixture, int round, int most)
{
    struct token_record records[500];
    char tokens[500][400];
    int taken;

    for (taken = 0; taken < most; taken++) {
        for (int i = 0; i < 500; i++) {
            memset(tokens[i], 'x', sizeof tokens[i] - 1);
            snprintf(tokens[i] + 200, 200, "%d/%d/%d", round, taken, i);
            records[i] = record("orders", tokens[i], T0 + round * 24 * HOUR, HOUR);
        }
        if (put(fixture, records, 500) != 0)
            break;
    }
    return taken;
}

static void a_full_store_waits_for_expiry(void **state)
{
    struct fixture *fixture = *state;
    int first, again;

    fixture->store = token_store_lmdb_open(fixture->directory, 8 * MIB, 24 * HOUR, &fixture->fault);
    fixture->reader = fixture->store->ops->reader_new(fixture->store, &fixture->fault);
    put_one(fixture, "orders", "before", T0, 100 * HOUR);
    first = fill(fixture, 0, 1000);
    assert_in_range(first, 2, 999);
    assert_non_null(strstr(fixture->fault.text, "full"));
    assert_non_null(strstr(fixture->fault.text, "raise"));
    assert_int_equal(fill(fixture, 0, 1), 0);
    assert_int_equal(find(fixture, "orders", "before", T0), 1);
    for (int round = 1; round < 20; round++) {
        expire_all(fixture, T0 + round * 24 * HOUR - 12 * HOUR);
        expire_all(fixture, T0 + round * 24 * HOUR - 12 * HOUR);
        again = fill(fixture, round, 1000);
        assert_true(again >= first / 2);
    }
    close_store(fixture);
    open_store(fixture);
}

/* A disk as full as RLIMIT_FSIZE makes it: the write that does not fit fails. */
static void a_full_disk_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before, limit;

    signal(SIGXFSZ, SIG_IGN);
    open_store(fixture);
    put_one(fixture, "orders", "before", T0, HOUR);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 2 * MIB;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_in_range(fill(fixture, 0, 100), 1, 99);
    assert_non_null(strstr(fixture->fault.text, "tokens.mdb"));
    assert_int_equal(find(fixture, "orders", "before", T0), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(fill(fixture, 2, 10), 10);
    assert_int_equal(find(fixture, "orders", "before", T0), 1);
    close_store(fixture);
    open_store(fixture);
    assert_int_equal(find(fixture, "orders", "before", T0), 1);
}

static int on_small_disk(struct fixture *fixture)
{
    char ballast[128];
    int fd, taken;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", fixture->directory, "tmpfs", 0, "size=4m") != 0)
        return 77;
    open_store(fixture);
    put_one(fixture, "orders", "before", T0, HOUR);
    snprintf(ballast, sizeof ballast, "%s/ballast", fixture->directory);
    fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(fallocate(fd, 0, 0, 2 * MIB), 0);
    taken = fill(fixture, 0, 100);
    assert_in_range(taken, 1, 99);
    assert_non_null(strstr(fixture->fault.text, "no space left"));
    assert_int_equal(find(fixture, "orders", "before", T0), 1);
    unlink(ballast);
    close(fd);
    assert_int_equal(fill(fixture, 1, 1), 1);
    close_store(fixture);
    open_store(fixture);
    assert_int_equal(find(fixture, "orders", "before", T0), 1);
    close_store(fixture);
    return 0;
}

static void a_full_tmpfs_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(on_small_disk(fixture));
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skipped: mounting a tmpfs is not permitted here\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- `test_token_store_lmdb bench [DIRECTORY]`: figures, not a test ---- */

#define BENCH_TOKENS 1000000

static void bench_token(char *text, uint64_t number)
{
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15);

    x ^= x >> 29;
    sprintf(text, "%016llx%016llx", (unsigned long long)(x * UINT64_C(0xbf58476d1ce4e5b9)),
            (unsigned long long)number);
}

static void bench_puts(struct fixture *fixture, int batch)
{
    struct token_record *records = calloc((size_t)batch, sizeof *records);
    char(*texts)[40] = calloc((size_t)batch, sizeof *texts);
    int64_t began = clock_now(), slowest = 0;

    for (int done = 0; done < BENCH_TOKENS; done += batch) {
        int64_t commit = clock_now();

        for (int i = 0; i < batch; i++) {
            bench_token(texts[i], (uint64_t)(done + i));
            records[i] = record("orders", texts[i], T0 + (done + i) * INT64_C(43200), 24 * HOUR);
        }
        if (put(fixture, records, (size_t)batch) != 0)
            fail_msg("%s", fixture->fault.text);
        if (clock_now() - commit > slowest)
            slowest = clock_now() - commit;
    }
    printf("put by %5d: %7.0f/s, slowest commit %.1f ms\n", batch,
           BENCH_TOKENS * 1e6 / (double)(clock_now() - began), (double)slowest / 1000);
    free(records);
    free(texts);
}

static void bench_finds(struct fixture *fixture, const char *what, uint64_t from, int expected)
{
    const struct token_store_ops *ops = fixture->store->ops;
    struct token_record found;
    int64_t began = clock_now();
    char text[40];
    int wrong = 0;

    for (uint64_t i = 0; i < BENCH_TOKENS; i++) {
        bench_token(text, from + i * 7919 % BENCH_TOKENS);
        if (i % 100 == 0)
            ops->reader_begin(fixture->reader, NULL);
        wrong += ops->find_token(fixture->reader, "orders", text, 32, T0 + 13 * HOUR, &found,
                                 NULL) != expected;
        if (i % 100 == 99)
            ops->reader_end(fixture->reader);
    }
    printf("find %s: %.3f us (%d wrong)\n", what, (double)(clock_now() - began) / BENCH_TOKENS,
           wrong);
}

static int bench(const char *directory)
{
    static const int batches[] = {100, 1000, 10000};
    struct fixture fixture = {0};
    struct stat status;
    int64_t began;
    char path[128];

    for (int i = 0; i < 3; i++) {
        snprintf(fixture.directory, sizeof fixture.directory, "%s/bench-XXXXXX", directory);
        assert_non_null(mkdtemp(fixture.directory));
        fixture.store = token_store_lmdb_open(fixture.directory, 8192 * MIB, 24 * HOUR, NULL);
        fixture.reader = fixture.store->ops->reader_new(fixture.store, NULL);
        bench_puts(&fixture, batches[i]);
        snprintf(path, sizeof path, "%s/tokens.mdb", fixture.directory);
        stat(path, &status);
        printf("file: %lld MiB\n", (long long)status.st_size >> 20);
        if (i == 2) {
            bench_finds(&fixture, "present", 0, 1);
            bench_finds(&fixture, "absent ", 10 * BENCH_TOKENS, 0);
            close_store(&fixture);
            began = clock_now();
            fixture.store = token_store_lmdb_open(fixture.directory, 8192 * MIB, 24 * HOUR, NULL);
            printf("open, rebuilding the filters: %.1f ms\n", (double)(clock_now() - began) / 1000);
            fixture.reader = fixture.store->ops->reader_new(fixture.store, NULL);
            bench_finds(&fixture, "absent after opening", 10 * BENCH_TOKENS, 0);
        }
        began = clock_now();
        expire_all(&fixture, T0 + 60 * HOUR);
        printf("expire all: %.1f ms\n", (double)(clock_now() - began) / 1000);
        close_store(&fixture);
        nftw(fixture.directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_is_there_after_reopening, setup_lmdb, teardown),
        cmocka_unit_test_setup_teardown(odd_expiries_are_kept, setup_lmdb, teardown),
        cmocka_unit_test_setup_teardown(another_process_is_refused_by_pid, setup_lmdb, teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused, setup_directory, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused, setup_directory, teardown),
        cmocka_unit_test_setup_teardown(a_read_only_directory_is_refused, setup_directory,
                                        teardown),
        cmocka_unit_test_setup_teardown(files_are_private, setup_directory, teardown),
        cmocka_unit_test_setup_teardown(a_full_store_waits_for_expiry, setup_directory, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_tried_again, setup_directory, teardown),
        cmocka_unit_test_setup_teardown(a_full_tmpfs_is_tried_again, setup_directory, teardown),
    };

    if (argc > 1 && strcmp(argv[1], "bench") == 0)
        return bench(argc > 2 ? argv[2] : "/var/tmp");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
