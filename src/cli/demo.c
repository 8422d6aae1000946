/* SPDX-License-Identifier: MIT
 * `sluice demo`: the main job, seen without a broker. An embedded Kafka and a function that has its
 * moods are made here; between them runs the real `sluice run`, watched through log and metrics. */
#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/demo_files.h"
#include "cli/demo_process.h"
#include "cli/demo_summary.h"
#include "cli/demo_view.h"
#include "cli/demo_watch.h"
#include "io/demo_function.h"

#define ORDERS      "400"
#define EMPTY       "137"               /* number of the order with a quantity of 0 */
#define UNREACHABLE "291"               /* of the one that goes to Atlantis */
#define KAFKA_US    (15 * CLOCK_SECOND) /* until its topic is filled */
#define MOST_US     CLOCK_MINUTE        /* until all orders are done */
#define STOP_US     (10 * CLOCK_SECOND)
#define METRICS_US  (250 * CLOCK_MS)
#define TURN_US     (50 * CLOCK_MS)
#define INTERRUPTED 130 /* 128 + SIGINT, as shells have it */

static const char *const refused[] = {"A-1" EMPTY, "A-1" UNREACHABLE, NULL};

enum { KEEP };

static const struct arguments_option options[] = {
    [KEEP] = {"keep", 'k', "DIR", "Put mapping and state into DIR (else a new one below $TMPDIR)."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "demo",
    .synopsis = "[OPTION...]",
    .description =
        "Shows the main job in about 15 s, without a broker: " ORDERS
        " orders go from an embedded\n"
        "Kafka through a real `sluice run` to a function that is slow now and then, fails now and\n"
        "then, and refuses two of them. Exits with 0 if exactly these two became dead letters and\n"
        "all others were done.",
    .options = options,
    .examples = "  sluice demo\n"
                "  sluice demo --keep ./demo",
};

struct demo {
    struct demo_files files;
    struct demo_process kafka, service;
    struct demo_function *function;
    struct demo_watch watch;
    struct demo_view view;
    int64_t metrics_us;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- starting ---- */

/* The path of the helper: beside this program, or where `make install` puts it. */
static char *find_helper(const char *program)
{
    const char *slash = strrchr(program, '/');
    char *beside =
        memory_format("%.*s/sluice-demo-kafka", (int)(slash ? slash - program : 0), program);

    if (access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return memory_text(SLUICE_CONNECTOR_DIRECTORY "/../sluice-demo-kafka");
}

/* Starts the cluster with its orders. `*ret_brokers` is valid while the process is not read. */
static int start_kafka(struct demo *demo, const char *program, const char **ret_brokers,
                       struct fault *fault)
{
    char *helper = find_helper(program);
    char *const argv[] = {helper, (char[]){ORDERS}, (char[]){EMPTY}, (char[]){UNREACHABLE}, NULL};
    int64_t until_us = clock_now() + KAFKA_US;
    int failed =
        access(helper, X_OK)
            ? fault_set(fault, "%s is missing: it is the demo's Kafka; `make` builds it", helper)
            : demo_process_start(&demo->kafka, argv, DEMO_PROCESS_STDOUT, fault);

    free(helper);
    if (failed)
        return -1;
    while (!(*ret_brokers = demo_process_line(&demo->kafka)) && demo->kafka.output >= 0 &&
           clock_now() < until_us && !interrupted)
        demo_process_wait(&demo->kafka, TURN_US);
    return *ret_brokers ? 0 : fault_set(fault, "the embedded Kafka does not start");
}

static int start_service(struct demo *demo, char *program, struct fault *fault)
{
    char *const argv[] = {program,
                          (char[]){"run"},
                          (char[]){"--config"},
                          demo->files.directory,
                          (char[]){"--state"},
                          demo->files.state,
                          (char[]){"--listen"},
                          (char[]){"127.0.0.1:0"},
                          (char[]){"--log-format"},
                          (char[]){"json"},
                          NULL};

    return demo_process_start(&demo->service, argv, DEMO_PROCESS_STDERR, fault);
}

static int start(struct demo *demo, struct fault *fault)
{
    char program[PATH_MAX] = "";
    const char *brokers;

    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        return fault_set(fault, "cannot read /proc/self/exe, so cannot find the program again");
    if (start_kafka(demo, program, &brokers, fault))
        return -1;
    demo->function = demo_function_start(fault);
    if (!demo->function ||
        demo_files_write(&demo->files, brokers, demo_function_port(demo->function), fault))
        return -1;
    demo->watch = (struct demo_watch){.function = demo->function, .start_us = clock_now()};
    return start_service(demo, program, fault);
}

/* ---- watching ---- */

static bool all_finished(const struct demo_watch *watch)
{
    return watch->done + watch->duplicates + watch->dead >= strtoull(ORDERS, NULL, 10) &&
           !watch->unfinished;
}

static void turn(struct demo *demo)
{
    const char *line;

    demo_process_wait(&demo->service, TURN_US);
    while ((line = demo_process_line(&demo->service)))
        demo_watch_line(&demo->watch, line);
    if (clock_now() >= demo->metrics_us) {
        demo_watch_metrics(&demo->watch);
        demo->metrics_us = clock_now() + METRICS_US;
    }
    demo_view_draw(&demo->view, false);
}

/* Until all orders are finished. 0, or -1 with a fault. */
static int watch_it(struct demo *demo, struct fault *fault)
{
    const struct demo_watch *watch = &demo->watch;

    while (!all_finished(watch)) {
        if (interrupted)
            return fault_set(fault, "interrupted");
        if (demo->service.output < 0)
            return fault_set(fault, "sluice run ended: %s", watch->trouble);
        if (clock_now() > watch->start_us + MOST_US)
            return fault_set(fault, "the orders are not done within a minute%s%s",
                             watch->trouble[0] ? ": " : "", watch->trouble);
        turn(demo);
    }
    return 0;
}

static int run(struct demo *demo, struct fault *fault)
{
    int failed, code;

    if (start(demo, fault))
        return -1;
    demo_view_init(&demo->view, &demo->watch, (unsigned)strtoul(ORDERS, NULL, 10));
    failed = watch_it(demo, fault);
    demo_view_draw(&demo->view, true);
    demo_view_end(&demo->view);
    if (failed)
        return -1;
    code = demo_process_stop(&demo->service, SIGTERM, STOP_US);
    return code ? fault_set(fault, "sluice run ended with %d", code) : 0;
}

/* ---- ending ---- */

static void stop(struct demo *demo)
{
    demo_process_stop(&demo->service, SIGKILL, STOP_US);
    demo_process_stop(&demo->kafka, 0, STOP_US);
    demo_function_stop(demo->function);
}

static int report(struct demo *demo, int64_t took_us)
{
    struct demo_function_status status;
    const struct demo_summary summary = {
        .files = &demo->files,
        .function = &status,
        .orders = (unsigned)strtoul(ORDERS, NULL, 10),
        .refused = refused,
        .took_us = took_us,
    };

    demo_function_read_status(demo->function, &status);
    if (demo_summary_print(&summary))
        return EX_OK;
    fflush(stdout);
    fputs("sluice: this is not what should have come of it\n", stderr);
    return EX_SOFTWARE;
}

static int show(const char *directory)
{
    struct demo *demo = memory_zero(1, sizeof *demo);
    struct fault fault = {.text = ""};
    int code = EX_OK;

    if (demo_files_init(&demo->files, directory, &fault)) {
        fprintf(stderr, "sluice: %s\n", fault.text);
        free(demo);
        return EX_CANTCREAT;
    }
    catch_signals();
    demo->kafka.input = demo->kafka.output = demo->service.input = demo->service.output = -1;
    if (run(demo, &fault)) {
        code = interrupted ? INTERRUPTED : EX_SOFTWARE;
        fprintf(stderr, "sluice: %s\n", interrupted ? "interrupted" : fault.text);
        stop(demo);
        demo_files_remove(&demo->files);
    } else {
        code = report(demo, clock_now() - demo->watch.start_us);
        stop(demo);
    }
    demo_files_fini(&demo->files);
    free(demo);
    return code;
}

int cmd_demo(int argc, char **argv)
{
    struct arguments arguments;
    const char *directory = NULL;
    int option, code = EX_OK;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        directory = arguments.value;
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count)
        return arguments_refuse(&arguments, "found \"%s\", expected options only",
                                arguments.operands[0]);
    return show(directory);
}
