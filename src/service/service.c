/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/activation.h"
#include "io/footprint.h"
#include "service/admin.h"
#include "service/control.h"
#include "service/control_http.h"
#include "service/notices.h"
#include "service/operate.h"
#include "service/orders.h"
#include "service/parked_left.h"
#include "service/replays.h"
#include "service/status.h"
#include "service/supervisor.h"
#include "service/tails.h"
#include "service/usage.h"

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
    struct usage *usage;
    struct router *router;
    struct activation *activation;
    struct control *control;
    struct control_http *control_http; /* NULL: off */
    struct admin *admin;               /* NULL: off */
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

/* ---- those that listen ---- */

static int open_control(struct service *service, const char *path, struct fault *fault)
{
    char *address = memory_format("unix:%s", path);
    int fd = activation_claim(service->activation, "control", address);

    free(address);
    if (!fd) /* the unit's is not where ours would be, which goes with the runtime directory */
        fd = activation_claim(service->activation, "control", "unix:");
    service->control = control_start(path, fd, service->router, fault);
    return service->control ? 0 : -1;
}

static int open_control_http(struct service *service, const struct control_http_settings *settings,
                             struct fault *fault)
{
    int fd;

    if (!settings->listen)
        return 0;
    fd = activation_claim(service->activation, "control_http", settings->listen);
    service->control_http = control_http_start(settings, fd, service->router, fault);
    if (!service->control_http)
        return -1;
    log_event(LOG_INFO, "control_listening", LOG_TEXT("address", settings->listen),
              LOG_NUMBER("port", control_http_port(service->control_http)));
    return 0;
}

static int open_admin(struct service *service, const char *listen, struct fault *fault)
{
    int fd = activation_claim(service->activation, "listen", listen);

    if (!listen && !fd)
        return 0;
    listen = listen ? listen : "the socket that was handed over";
    service->admin = admin_start(listen, fd, service->supervisor, service->replays, fault);
    if (!service->admin)
        return -1;
    log_event(LOG_INFO, "listening", LOG_TEXT("address", listen),
              LOG_NUMBER("port", admin_port(service->admin)));
    return 0;
}

static void complain_unclaimed(const struct activation *activation)
{
    char text[ACTIVATION_TEXT];
    size_t at = 0;

    while (activation_unclaimed(activation, &at, text) == 0)
        log_event(LOG_WARNING, "socket_unused", LOG_TEXT("address", text),
                  LOG_TEXT("effect", "who connects there is not answered; it is no address of listen, "
                                     "control or control_http in sluice.yaml"));
}

static int open_listeners(struct service *service, const struct service_settings *settings,
                          struct fault *fault)
{
    /* Last what tells that the service is up: who asks it may go on with the others. */
    if (open_control_http(service, &settings->control_http, fault) ||
        open_control(service, settings->control, fault) ||
        open_admin(service, settings->listen, fault))
        return -1;
    complain_unclaimed(service->activation);
    return 0;
}

/* Makes all parts; those that listen do so from here on. */
static int open_service(struct service *service, struct configuration *configuration,
                        struct fault *fault)
{
    const struct service_settings *settings = &configuration->service;
    sigset_t signals;

    service->activation = activation_take(fault);
    if (!service->activation)
        return EX_UNAVAILABLE;
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
    tails_add_routes(service->supervisor, service->router);
    service->usage = usage_start(service->supervisor, fault);
    if (!service->usage)
        return EX_OSERR;
    usage_add_routes(service->usage, service->router);
    return open_listeners(service, settings, fault) ? EX_UNAVAILABLE : EX_OK;
}

/* Those that listen end first: they look into the others. */
static void close_service(struct service *service)
{
    if (service->orders)
        orders_end(service->orders);
    admin_stop(service->admin);
    control_http_stop(service->control_http);
    control_stop(service->control);
    activation_free(service->activation);
    replays_free(service->replays);
    usage_stop(service->usage);
    operate_free(service->operate);
    status_free(service->status);
    router_free(service->router);
    supervisor_free(service->supervisor);
    orders_free(service->orders);
    if (service->signals >= 0)
        close(service->signals);
}

/* What of new settings needs no restart. Main thread. */
static void take_settings(void *argument, const struct service_settings *settings)
{
    struct service *service = argument;

    allowance_set(supervisor_allowance(service->supervisor), settings->memory);
    if (service->control_http)
        control_http_take(service->control_http, &settings->control_http);
}

int service_run(struct configuration *configuration, struct reload_source *source)
{
    struct service service = {.source = source, .signals = -1};
    struct fault fault = {.text = ""};
    int code;

    source->started_with = &configuration->service;
    source->taken = take_settings;
    source->argument = &service;
    code = open_service(&service, configuration, &fault);
    if (code == EX_OK)
        parked_left_tell(service.supervisor);
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
