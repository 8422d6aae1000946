/* SPDX-License-Identifier: MIT */
#include "service/tails.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "base/units.h"
#include "io/json_value.h"
#include "service/running.h"

#define MOST 500 /* entries of one answer */

/* ---- an entry ---- */

/* A string where it is text, {"base64": ...} where not, null where absent. Of what was cut, the
 * character that lost its end goes too. */
static json_t *bytes_json(struct sluice_bytes bytes, bool cut)
{
    const char *data = bytes.data;
    size_t size = bytes.size;
    json_t *value;
    char *text;

    if (!data)
        return json_null();
    for (size_t i = 0; cut && i < 3 && size && !json_text_is_utf8(data, size); i++)
        size--;
    if (json_text_is_utf8(data, size) && !memchr(data, '\0', size))
        return json_stringn(data, size);
    text = memory_new(BASE64_SIZE(bytes.size));
    base64_write(text, data, bytes.size);
    value = json_pack("{s:o}", "base64", json_stringn(text, BASE64_SIZE(bytes.size)));
    free(text);
    return value;
}

static json_t *invocation_json(const struct tap_event *event)
{
    if (!event->attempt)
        return json_null();
    return json_pack("{s:I, s:I, s:o, s:f}", "attempt", (json_int_t)event->attempt, "messages",
                     (json_int_t)event->messages, "status",
                     event->status ? json_integer(event->status) : json_null(), "seconds",
                     (double)event->duration_us / CLOCK_SECOND);
}

struct listing {
    json_t *entries;
    bool payloads;
};

static void add_entry(void *argument, const struct tap_entry *entry)
{
    const struct listing *listing = argument;
    const struct tap_event *event = &entry->event;
    json_t *json;

    json = json_pack("{s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:I, s:o, s:o}",         //
                     "time", json_value_time(event->wall_us),                      //
                     "outcome", event->outcome,                                    //
                     "failed", (int)event->failed,                                 //
                     "lane", json_value_text(event->lane),                         //
                     "position", json_value_unsigned(event->position),             //
                     "key", bytes_json(event->key, event->key.size == TAP_TEXT),   //
                     "token", bytes_json(event->token, event->token.size == TAP_TEXT), //
                     "size", (json_int_t)entry->payload_size,                      //
                     "invocation", invocation_json(event),                         //
                     "error", json_value_text(event->error));
    if (listing->payloads)
        json_object_set_new(json, "payload",
                            bytes_json(event->payload, event->payload.size < entry->payload_size));
    json_array_append_new(listing->entries, json);
}

/* ---- the resource ---- */

struct search {
    const char *name;
    struct book *book;
};

static void find_book(void *argument, const struct supervisor_view *view)
{
    struct search *search = argument;

    if (!strcmp(view->mapping->name, search->name))
        search->book = view->running->book; /* outlives whatever becomes of the mapping */
}

/* A number of the query; `otherwise` where it is absent. False: refused. */
static bool read_number(const struct router_call *call, const char *name, uint64_t otherwise,
                        uint64_t *ret_number, struct router_answer *answer)
{
    const char *text = http_server_query(call->request, name);
    int64_t number;

    *ret_number = otherwise;
    if (!text)
        return true;
    if (units_parse_integer(text, &number) || number < 0) {
        router_refuse(answer, 400, "%s: found \"%.40s\", expected a whole number", name, text);
        return false;
    }
    *ret_number = (uint64_t)number;
    return true;
}

static void show_tail(void *argument, const struct router_call *call, struct router_answer *answer)
{
    struct supervisor *supervisor = argument;
    struct search search = {.name = call->parameters[0]};
    struct listing listing = {.payloads = http_server_query(call->request, "payload") != NULL};
    unsigned wishes = (http_server_query(call->request, "failed") ? TAP_FAILED : TAP_ALL) |
                      (listing.payloads ? TAP_PAYLOADS : 0u);
    struct tap_look look;
    uint64_t after, most;

    if (!read_number(call, "after", UINT64_MAX, &after, answer) ||
        !read_number(call, "limit", MOST, &most, answer))
        return;
    supervisor_look(supervisor, find_book, &search);
    if (!search.book) {
        router_refuse(answer, 404, "there is no mapping %s", call->parameters[0]);
        return;
    }
    listing.entries = json_array();
    tap_look(search.book->tap, wishes, after, most < MOST ? (size_t)most : MOST, clock_now(),
             add_entry, &listing, &look);
    answer->body = json_pack("{s:I, s:I, s:I, s:o}", "next", (json_int_t)look.next, "dropped",
                             (json_int_t)look.dropped, "missed", (json_int_t)look.missed, "entries",
                             listing.entries);
}

void tails_add_routes(struct supervisor *supervisor, struct router *router)
{
    static const struct router_route routes[] = {
        {"GET", "/v1/mappings/{name}/tail", show_tail},
        {0},
    };

    router_add(router, routes, supervisor);
}
