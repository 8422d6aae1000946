/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "runner.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CASES_MOST 64
#define SIDE_BY_SIDE 8

static struct job {
    const struct contract_case *contract;
    pid_t pid;
} jobs[CASES_MOST];
static size_t job_count, launched;

static void launch(struct job *job)
{
    job->pid = fork();
    assert_true(job->pid >= 0);
    if (!job->pid) {
        char *arguments[] = {(char *)"case", (char *)(uintptr_t)job->contract->name, NULL};
        int log;

        if (mkdir(job->contract->name, 0700) || chdir(job->contract->name))
            _exit(126);
        log = open("log", O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
}

static void show_log(const char *name)
{
    char path[200], line[1000];
    FILE *log;

    snprintf(path, sizeof path, "%s/log", name);
    log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log))
        if (!strstr(line, " test(s)")) /* are counted by who runs this */
            printf("%s: %s", name, line);
    if (log)
        fclose(log);
}

static void await(void **state)
{
    struct job *job = *state;
    int status;

    while (launched < job_count && launched < (size_t)(job - jobs) + SIDE_BY_SIDE)
        launch(&jobs[launched++]);
    assert_int_equal(waitpid(job->pid, &status, 0), job->pid);
    if (status || getenv("V"))
        show_log(job->contract->name);
    if (WIFSIGNALED(status))
        fail_msg("ended by signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int run_here(const struct contract_case *contract)
{
    const struct CMUnitTest test[] = {{contract->name, contract->run, contract->begin, NULL,
                                       (void *)(uintptr_t)contract->argument}};

    return cmocka_run_group_tests_name(contract->name, test, NULL, NULL);
}

int runner_main(int argc, char **argv, const struct contract_case *cases, size_t count)
{
    struct CMUnitTest tests[CASES_MOST] = {0};
    int failed = 0;

    if (count > CASES_MOST)
        abort();
    for (size_t i = 0; i < count; i++) {
        for (int j = 1; j < argc; j++)
            if (!strcmp(argv[j], cases[i].name))
                failed |= run_here(&cases[i]);
        jobs[i].contract = &cases[i];
        tests[i] = (struct CMUnitTest){cases[i].name, await, NULL, NULL, &jobs[i]};
    }
    if (argc > 1)
        return failed;
    job_count = count;
    return _cmocka_run_group_tests("contract", tests, count, NULL, NULL);
}
