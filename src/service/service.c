/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/service.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/footprint.h"
#include "service/admin.h"
#include "service/control.h"
#include "service/status.h"
#include "service/supervisor.h"

/* By then connections are made and what was only needed for that can be given back. */
#define SETTLED_US (4 * CLOCK_SECOND)

struct service {
    const struct configuration *configuration;
    struct supervisor *supervisor;
    struct status *status;
    struct router *router;
    struct control *control;
    struct admin *admin;
    sigset_t signals;
};

static void fill_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
}

void service_block_signals(void)
{
    sigset_t signals;

    fill_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Waits for the next signal, or until everything has ended. */
static int wait_for_signal(const struct service *service, int64_t *trim_us)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};

    while (!supervisor_ended(service->supervisor)) {
        int received = sigtimedwait(&service->signals, NULL, &pause);

        if (received > 0)
            return received;
        if (clock_now() >= *trim_us) {
            footprint_trim();
            *trim_us = CLOCK_NEVER;
        }
    }
    return 0;
}

static void serve(const struct service *service)
{
    int64_t trim_us = clock_now() + SETTLED_US;
    bool stopping = false;
    int received;

    while ((received = wait_for_signal(service, &trim_us))) {
        if (received == SIGHUP) {
            log_event(LOG_WARNING, "reload_ignored",
                      LOG_TEXT("text", "restart to take changed files over"));
            continue;
        }
        log_event(LOG_INFO, "stopping", LOG_TEXT("signal", strsignal(received)),
                  LOG_TEXT("effect", stopping ? "at once: what is in flight is delivered again"
                                              : "waits for what is in flight"));
        supervisor_stop(service->supervisor, stopping);
        stopping = true;
    }
}

/* Makes all parts; those that listen do so from here on. */
static int open_service(struct service *service, struct fault *fault)
{
    const struct service_settings *settings = &service->configuration->service;

    service->supervisor = supervisor_new(service->configuration, fault);
    if (!service->supervisor)
        return EX_CANTCREAT;
    service->router = router_new();
    service->status = status_new(service->configuration, service->supervisor);
    status_add_routes(service->status, service->router);
    service->control = control_start(settings->control, service->router, fault);
    if (!service->control)
        return EX_UNAVAILABLE;
    if (settings->listen) {
        service->admin = admin_start(service->configuration, service->supervisor, fault);
        if (!service->admin)
            return EX_UNAVAILABLE;
        log_event(LOG_INFO, "listening", LOG_TEXT("address", settings->listen),
                  LOG_NUMBER("port", admin_port(service->admin)));
    }
    return EX_OK;
}

/* Those that listen end first: they look into the others. */
static void close_service(struct service *service)
{
    admin_stop(service->admin);
    control_stop(service->control);
    status_free(service->status);
    router_free(service->router);
    supervisor_free(service->supervisor);
}

int service_run(const struct configuration *configuration)
{
    struct service service = {.configuration = configuration};
    struct fault fault = {.text = ""};
    int code = open_service(&service, &fault);

    fill_signals(&service.signals);
    if (code == EX_OK && supervisor_start(service.supervisor, &fault)) {
        supervisor_stop(service.supervisor, true);
        code = EX_OSERR;
    }
    if (code == EX_OK) {
        log_event(LOG_INFO, "started", LOG_TEXT("version", SLUICE_VERSION),
                  LOG_NUMBER("mappings", (int64_t)configuration->mapping_count));
        serve(&service);
    } else {
        fprintf(stderr, "sluice: %s\n", fault.text);
    }
    close_service(&service);
    log_event(LOG_INFO, "stopped", LOG_TEXT("version", SLUICE_VERSION));
    return code;
}
