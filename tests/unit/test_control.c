/* SPDX-License-Identifier: MIT
 * The control socket and its client together. */
#define _GNU_SOURCE
#include "service/control.h"

#include <grp.h>
#include <limits.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/control_client.h"
#include "io/http_client.h"

#define PATIENCE (20 * CLOCK_SECOND)
#define NOBODY   65534

static void echo(void *argument, const struct router_call *call, struct router_answer *answer)
{
    const char *query = http_server_query(call->request, "q");

    answer->body = json_pack("{s:s, s:s?, s:O?}", "method", call->request->method, "query", query,
                             "body", call->body);
}

static void refuse(void *argument, const struct router_call *call, struct router_answer *answer)
{
    router_refuse(answer, 422, "orders.yaml:3: no");
}

static const struct router_route routes[] = {
    {"GET", "/v1/echo", echo}, {"POST", "/v1/echo", echo}, {"POST", "/v1/refuse", refuse}, {0}};

struct fixture {
    char directory[32], path[512];
    struct router *router;
    struct control *control;
};

static int set_up(void **state)
{
    struct fixture *fixture = memory_zero(1, sizeof *fixture);

    strcpy(fixture->directory, "/tmp/sluice-test-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->path, sizeof fixture->path, "%s/control.sock", fixture->directory);
    fixture->router = router_new();
    router_add(fixture->router, routes, NULL);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[64];

    control_stop(fixture->control);
    router_free(fixture->router);
    snprintf(command, sizeof command, "rm -rf %s", fixture->directory);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static void start(struct fixture *fixture)
{
    struct fault fault = {""};

    fixture->control = control_start(fixture->path, 0, fixture->router, &fault);
    assert_string_equal(fault.text, "");
    assert_non_null(fixture->control);
}

static void expect(const struct fixture *fixture, const char *method, const char *path,
                   json_t *body, enum control_outcome outcome, const char *text)
{
    struct fault fault = {""};
    json_t *answer;
    char *printed;

    assert_int_equal(
        control_client_ask(fixture->path, method, path, body, PATIENCE, &answer, &fault), outcome);
    printed = answer ? json_dumps(answer, JSON_COMPACT) : memory_text("");
    if (!strstr(outcome == CONTROL_ANSWERED ? printed : fault.text, text))
        fail_msg("%s %s: %s %s", method, path, printed, fault.text);
    free(printed);
    json_decref(answer);
    json_decref(body);
}

static void answers_its_user(void **state)
{
    struct fixture *fixture = *state;
    struct stat what;

    start(fixture);
    assert_int_equal(stat(fixture->path, &what), 0);
    assert_int_equal(what.st_mode & 07777, 0660);
    expect(fixture, "GET", "/v1/echo?q=a%20b", NULL, CONTROL_ANSWERED,
           "{\"method\":\"GET\",\"query\":\"a b\",\"body\":null}");
    expect(fixture, "POST", "/v1/echo", NULL, CONTROL_ANSWERED, "{\"method\":\"POST\",\"query\":null,\"body\":null}");
    expect(fixture, "POST", "/v1/echo", json_pack("{s:i}", "n", 1), CONTROL_ANSWERED,
           "\"body\":{\"n\":1}");
    expect(fixture, "POST", "/v1/refuse", NULL, CONTROL_REFUSED, "orders.yaml:3: no");
    expect(fixture, "GET", "/v1/nothing", NULL, CONTROL_REFUSED, "there is no /v1/nothing");
}

static void paths_of_any_length_work(void **state)
{
    struct fixture *fixture = *state;
    char directory[300];

    snprintf(directory, sizeof directory, "%s/%0200d", fixture->directory, 7);
    assert_int_equal(mkdir(directory, 0700), 0);
    snprintf(fixture->path, sizeof fixture->path, "%s/control.sock", directory);
    start(fixture);
    expect(fixture, "GET", "/v1/echo", NULL, CONTROL_ANSWERED, "GET");
    control_stop(fixture->control);
    fixture->control = NULL;
    assert_int_equal(access(fixture->path, F_OK), -1);
    start(fixture);
}

static void relative_paths_work(void **state)
{
    struct fixture *fixture = *state;
    char before[PATH_MAX];

    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(fixture->directory), 0);
    strcpy(fixture->path, "control.sock");
    start(fixture);
    expect(fixture, "GET", "/v1/echo", NULL, CONTROL_ANSWERED, "GET");
    assert_int_equal(chdir(before), 0);
}

static void says_when_nothing_runs(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un left = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    expect(fixture, "GET", "/v1/echo", NULL, CONTROL_NOT_RUNNING, "no sluice is running");
    strcpy(left.sun_path, fixture->path); /* left by a dead process */
    assert_int_equal(bind(fd, (struct sockaddr *)&left, sizeof left), 0);
    close(fd);
    expect(fixture, "GET", "/v1/echo", NULL, CONTROL_NOT_RUNNING, "no sluice is running");
    start(fixture);
    expect(fixture, "GET", "/v1/echo", NULL, CONTROL_ANSWERED, "GET");
}

/* What another user is told; the exit code of a child that became one. */
static enum control_outcome ask_as(const struct fixture *fixture, gid_t group, gid_t supplementary)
{
    int status;
    pid_t child = fork();

    if (!child) {
        struct fault fault;
        json_t *answer;

        if (setgroups(supplementary ? 1 : 0, &supplementary) || setgid(group) || setuid(NOBODY))
            _exit(99);
        _exit(control_client_ask(fixture->path, "GET", "/v1/echo", NULL, PATIENCE, &answer,
                                 &fault));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void others_are_kept_out(void **state)
{
    struct fixture *fixture = *state;
    const gid_t group = 4242;

    if (geteuid() != 0) {
        print_message("skipped: only root can become others\n");
        skip();
    }
    start(fixture);
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_int_equal(chown(fixture->path, (uid_t)-1, group), 0);
    assert_int_equal(ask_as(fixture, NOBODY, 0), CONTROL_FORBIDDEN);
    assert_int_equal(ask_as(fixture, group, 0), CONTROL_ANSWERED);
    assert_int_equal(ask_as(fixture, NOBODY, group), CONTROL_ANSWERED);
    /* The file's mode is not all that protects it. */
    assert_int_equal(chmod(fixture->path, 0666), 0);
    assert_int_equal(ask_as(fixture, NOBODY, 0), CONTROL_FORBIDDEN);
    assert_int_equal(ask_as(fixture, NOBODY, group), CONTROL_ANSWERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_its_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_of_any_length_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(relative_paths_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_when_nothing_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_kept_out, set_up, tear_down),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    http_client_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
