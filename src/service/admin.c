/* SPDX-License-Identifier: MIT */
#include "service/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/http_server.h"
#include "service/metrics.h"

struct admin {
    struct supervisor *supervisor;
    struct replays *replays;
    struct http_server *server;
};

struct health {
    struct buffer *body;
    bool ready; /* asked for */
    bool good;
};

static void add_health(void *argument, const struct supervisor_view *view)
{
    struct health *health = argument;
    const struct poller_status *status = &view->status;

    if (status->turn_us && clock_now() - status->turn_us > SUPERVISOR_STUCK_US) {
        buffer_format(health->body, "%s: a poller is stuck\n", view->mapping->name);
        health->good = false;
    } else if (health->ready && view->phase == SUPERVISOR_RUNNING &&
               status->state != SLUICE_STATE_RUNNING) {
        buffer_format(health->body, "%s: %s\n", view->mapping->name,
                      status->state_text[0] ? status->state_text : "connecting");
        health->good = false;
    }
}

/* Ready: every source delivers, but for those that were told not to. Live: every poller turns. */
static bool write_health(struct admin *admin, bool ready, struct buffer *body)
{
    struct health health = {.body = body, .ready = ready, .good = true};

    supervisor_look(admin->supervisor, add_health, &health);
    if (health.good)
        buffer_add_text(body, "ok\n");
    return health.good;
}

static void handle(void *argument, const struct http_server_request *request,
                   struct http_server_answer *answer)
{
    struct admin *admin = argument;
    bool get = !strcmp(request->method, "GET") || !strcmp(request->method, "HEAD");

    if (!get) {
        answer->status = 405;
        buffer_add_text(&answer->body, "only GET\n");
    } else if (!strcmp(request->path, "/metrics")) {
        enum metrics_format format = metrics_choose(http_server_header(request, "Accept"));

        answer->content_type = metrics_content_type(format);
        metrics_write(admin->supervisor, admin->replays, format, &answer->body);
    } else if (!strcmp(request->path, "/livez")) {
        answer->status = write_health(admin, false, &answer->body) ? 200 : 503;
    } else if (!strcmp(request->path, "/readyz")) {
        answer->status = write_health(admin, true, &answer->body) ? 200 : 503;
    } else {
        answer->status = 404;
        buffer_add_text(&answer->body, "there are /metrics, /livez and /readyz\n");
    }
}

struct admin *admin_start(const char *listen, int fd, struct supervisor *supervisor,
                          struct replays *replays, struct fault *fault)
{
    struct admin *admin = memory_zero(1, sizeof *admin);
    struct http_server_settings settings = {
        .listen = listen, .fd = fd, .handle = handle, .argument = admin};

    admin->supervisor = supervisor;
    admin->replays = replays;
    admin->server = http_server_start(&settings, fault);
    if (!admin->server) {
        free(admin);
        return NULL;
    }
    return admin;
}

void admin_stop(struct admin *admin)
{
    if (admin)
        http_server_stop(admin->server);
    free(admin);
}

unsigned admin_port(const struct admin *admin)
{
    return http_server_port(admin->server);
}
