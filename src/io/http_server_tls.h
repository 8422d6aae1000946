/* SPDX-License-Identifier: MIT
 * TLS of the small HTTP server: its certificate, and who the client is by its own. By gnutls, as
 * libmicrohttpd speaks TLS with it. */
#ifndef IO_HTTP_SERVER_TLS_H
#define IO_HTTP_SERVER_TLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

#define HTTP_SERVER_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Shared by the configuration, the server and its connections, each of which frees it once. */
struct http_server_tls {
    struct gnutls_certificate_credentials_st *credentials;
    bool asks_clients;    /* for a certificate of their own */
    uint64_t identity[2]; /* another one where a file has changed */
    atomic_uint users;
};

/* Reads PEM files, and makes sure that the key belongs to the certificate. `client_ca_file` may be
 * NULL: clients are not asked for a certificate. NULL with a fault that names the file. */
struct http_server_tls *http_server_tls_read(const char *certificate_file, const char *key_file,
                                             const char *client_ca_file, struct fault *fault);
struct http_server_tls *http_server_tls_share(struct http_server_tls *tls); /* NULL is fine */
void http_server_tls_free(struct http_server_tls *tls); /* the last one wipes; NULL is fine */

/* From here on a session (gnutls_session_t) shows this certificate, where its handshake is still to come,
 * and judges its client by this CA. `tls` must not be freed before the session has ended. 0, or -1 without
 * memory. */
int http_server_tls_use(struct http_server_tls *tls, void *session);

/* Whether the client of a session has shown a certificate for clients that the CA vouches for now; its
 * subject in `ret_name`. */
bool http_server_tls_peer(void *session, char *ret_name, size_t room);

#endif
