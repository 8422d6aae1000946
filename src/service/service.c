/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/footprint.h"
#include "service/admin.h"
#include "service/control.h"
#include "service/notices.h"
#include "service/operate.h"
#include "service/orders.h"
#include "service/replays.h"
#include "service/status.h"
#include "service/supervisor.h"

/* By then connections are made and what was only needed for that can be given back. */
#define SETTLED_US (4 * CLOCK_SECOND)

/* How often to look after what takes its time. */
#define TICK_MS 200

struct service {
    struct reload_source *source;
    struct supervisor *supervisor;
    struct orders *orders;
    struct notices notices;
    struct status *status;
    struct operate *operate;
    struct replays *replays;
    struct router *router;
    struct control *control;
    struct admin *admin;
    int signals; /* signalfd */
    bool stopping;
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

static void stop(struct service *service, int signal)
{
    log_event(LOG_INFO, "stopping", LOG_TEXT("signal", strsignal(signal)),
              LOG_TEXT("effect", service->stopping ? "at once: what is in flight is delivered again"
                                                   : "waits for what is in flight"));
    notices_stopping(&service->notices, supervisor_drain_us(service->supervisor));
    supervisor_stop(service->supervisor, service->stopping);
    replays_stop(service->replays,
                 service->stopping ? 0 : supervisor_drain_us(service->supervisor));
    service->stopping = true;
}

static void take_signal(struct service *service)
{
    struct signalfd_siginfo info;

    if (read(service->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo != SIGHUP)
        stop(service, (int)info.ssi_signo);
    else if (!service->stopping)
        operate_reload(service->operate);
}

static void serve(struct service *service)
{
    int64_t trim_us = clock_now() + SETTLED_US;

    while (!supervisor_ended(service->supervisor) || !replays_ended(service->replays)) {
        struct pollfd waited[] = {{.fd = service->signals, .events = POLLIN},
                                  {.fd = orders_fd(service->orders), .events = POLLIN}};

        poll(waited, 2, TICK_MS);
        if (waited[0].revents)
            take_signal(service);
        orders_run(service->orders);
        supervisor_tick(service->supervisor);
        notices_tick(&service->notices);
        if (clock_now() >= trim_us) {
            footprint_trim();
            trim_us = CLOCK_NEVER;
        }
    }
}

/* Makes all parts; those that listen do so from here on. */
static int open_service(struct service *service, struct configuration *configuration,
                        struct fault *fault)
{
    const struct service_settings *settings = &configuration->service;
    sigset_t signals;

    fill_signals(&signals);
    service->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    service->orders = orders_new(fault);
    if (service->signals < 0 || !service->orders) {
        fault_set(fault, "no descriptor is left: %s", strerror(errno));
        return EX_OSERR;
    }
    service->supervisor = supervisor_new(configuration, fault);
    if (!service->supervisor)
        return EX_CANTCREAT;
    notices_init(&service->notices, service->supervisor);
    service->router = router_new();
    service->status = status_new(service->supervisor);
    status_add_routes(service->status, service->router);
    service->operate = operate_new(service->orders, service->supervisor, service->source,
                                   &service->notices);
    operate_add_routes(service->operate, service->router);
    service->replays = replays_new(service->supervisor);
    replays_add_routes(service->replays, service->router);
    service->control = control_start(settings->control, service->router, fault);
    if (!service->control)
        return EX_UNAVAILABLE;
    if (settings->listen) {
        service->admin = admin_start(settings->listen, service->supervisor, fault);
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
    if (service->orders)
        orders_end(service->orders);
    admin_stop(service->admin);
    control_stop(service->control);
    replays_free(service->replays);
    operate_free(service->operate);
    status_free(service->status);
    router_free(service->router);
    supervisor_free(service->supervisor);
    orders_free(service->orders);
    if (service->signals >= 0)
        close(service->signals);
}

int service_run(struct configuration *configuration, struct reload_source *source)
{
    struct service service = {.source = source};
    struct fault fault = {.text = ""};
    int code;

    source->started_with = &configuration->service;
    code = open_service(&service, configuration, &fault);
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
