/* SPDX-License-Identifier: MIT
 * What commands share that give orders to the running service. */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include <stdbool.h>

#include <jansson.h>

/* Where the service is; both may be NULL: the usual places. */
struct control_place {
    const char *socket; /* --socket: the control socket itself; --control: a URL */
    const char *state;  /* --state: the directory that it is in */
};

/* The path of the control socket, or the URL of the control interface: as given, else, the first that is there,
 * $RUNTIME_DIRECTORY-control.sock, control.sock in $RUNTIME_DIRECTORY, where that is unset /run/sluice, or
 * in the state directory. Memory of the caller's. */
char *control_find(const struct control_place *place);

/* Whether a mapping could have that name, which then stands in a path as it is. */
bool control_could_be_mapping(const char *name);

/* Sends one request and waits 20 s at most; see control_client_ask. What went wrong is printed after
 * `sluice COMMAND: `. Returns EX_OK, EX_UNAVAILABLE (nothing runs there), EX_NOPERM, EX_DATAERR
 * (refused: the answer says why) or EX_PROTOCOL. *ret_answer is a new reference, NULL where there was
 * no JSON. */
int control_ask(const char *command, const struct control_place *place, const char *method,
                const char *path, const json_t *body, json_t **ret_answer);

#endif
