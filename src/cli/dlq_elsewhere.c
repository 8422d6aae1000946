/* SPDX-License-Identifier: MIT */
#include "cli/dlq_elsewhere.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "cli/control.h"
#include "cli/dlq_inside.h"
#include "io/control_client.h"
#include "io/http_client.h"

#define ANSWER_US   (2 * CLOCK_SECOND) /* a person waits */
#define NAME_SHOWN  63
#define PLACE_SHOWN 200

static void tell(const char *mapping, const char *place, const json_t *written)
{
    char number[DLQ_TIME];

    dlq_line(mapping, strlen(mapping), NAME_SHOWN);
    fputs(": dead letters go to ", stdout);
    dlq_line(place, strlen(place), PLACE_SHOWN);
    if (json_is_integer(written))
        printf(", %s since the service began", dlq_number((uint64_t)json_integer_value(written), number));
    fputs("; sluice dlq browse ", stdout);
    dlq_line(mapping, strlen(mapping), NAME_SHOWN);
    putchar('\n');
}

void dlq_elsewhere_tell(const char *state, const char *mapping)
{
    char *socket = control_find(&(struct control_place){.state = state});
    json_t *answer = NULL, *one;
    const char *before = mapping ? "" : "\n";
    struct fault fault;
    size_t i;

    if (!access(socket, F_OK)) {
        http_client_global_init();
        control_client_ask(socket, "GET", "/v1/status", NULL, ANSWER_US, &answer, &fault);
    }
    json_array_foreach(json_object_get(answer, "mappings"), i, one)
    {
        const json_t *there = json_object_get(one, "dead_letter_to");
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *place = json_string_value(json_object_get(there, "place"));

        if (!name || !place || (mapping && strcmp(name, mapping) != 0))
            continue;
        fputs(before, stdout);
        before = "";
        tell(name, place, json_object_get(there, "published"));
    }
    json_decref(answer);
    free(socket);
}
