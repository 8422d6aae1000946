/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_server_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/file.h"
#include "base/memory.h"
#include "io/hash.h"

#define FILE_MOST ((size_t)256 * 1024)

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* Memory of the caller's; NULL with a fault. */
static char *read_text(const char *path, struct fault *fault)
{
    char *room = memory_new(FILE_MOST + 1), *text = NULL;
    ssize_t size = file_read(path, room, FILE_MOST);

    if (size < 0)
        fault_set(fault, "%s cannot be read: %s", path, strerror(errno));
    else if ((size_t)size == FILE_MOST)
        fault_set(fault, "%s is larger than %zu bytes, so it is no certificate or key", path,
                  FILE_MOST);
    else
        text = memory_text_n(room, (size_t)size);
    explicit_bzero(room, FILE_MOST + 1);
    free(room);
    return text;
}

static gnutls_datum_t datum(char *text)
{
    return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

/* The PEM texts of the files; the last may be absent. */
struct texts {
    char *certificate, *key, *client_ca;
};

static void identify(struct http_server_tls *tls, const struct texts *texts)
{
    char *all = memory_format("%s\n%s\n%s", texts->certificate, texts->key,
                              texts->client_ca ? texts->client_ca : "");

    hash_fingerprint(all, strlen(all), tls->identity);
    wipe(all);
}

static int take_texts(struct http_server_tls *tls, const struct texts *texts,
                      const char *const files[3], struct fault *fault)
{
    gnutls_datum_t certificate = datum(texts->certificate), key = datum(texts->key);
    int code = gnutls_certificate_allocate_credentials(&tls->credentials);

    if (code)
        return fault_set(fault, "gnutls: %s", gnutls_strerror(code));
    code = gnutls_certificate_set_x509_key_mem(tls->credentials, &certificate, &key,
                                               GNUTLS_X509_FMT_PEM);
    if (code < 0)
        return fault_set(fault, "%s and %s: %s; a PEM certificate and its own key without a password "
                         "are expected", files[0], files[1], gnutls_strerror(code));
    if (texts->client_ca) {
        gnutls_datum_t trust = datum(texts->client_ca);

        code = gnutls_certificate_set_x509_trust_mem(tls->credentials, &trust, GNUTLS_X509_FMT_PEM);
        if (code <= 0)
            return fault_set(fault, "%s: %s; PEM certificates are expected", files[2],
                             code ? gnutls_strerror(code) : "there is no certificate in it");
        tls->asks_clients = true;
    }
    identify(tls, texts);
    return 0;
}

struct http_server_tls *http_server_tls_read(const char *certificate_file, const char *key_file,
                                             const char *client_ca_file, struct fault *fault)
{
    struct http_server_tls *tls = memory_zero(1, sizeof *tls);
    const char *const files[] = {certificate_file, key_file, client_ca_file};
    struct texts texts = {NULL, NULL, NULL};
    int code = -1;

    atomic_init(&tls->users, 1);
    if ((texts.certificate = read_text(certificate_file, fault)) &&
        (texts.key = read_text(key_file, fault)) &&
        (!client_ca_file || (texts.client_ca = read_text(client_ca_file, fault))))
        code = take_texts(tls, &texts, files, fault);
    free(texts.certificate);
    wipe(texts.key);
    free(texts.client_ca);
    if (code == 0)
        return tls;
    http_server_tls_free(tls);
    return NULL;
}

struct http_server_tls *http_server_tls_share(struct http_server_tls *tls)
{
    if (tls)
        atomic_fetch_add(&tls->users, 1);
    return tls;
}

void http_server_tls_free(struct http_server_tls *tls)
{
    if (!tls || atomic_fetch_sub(&tls->users, 1) > 1)
        return;
    if (tls->credentials)
        gnutls_certificate_free_credentials(tls->credentials);
    free(tls);
}

int http_server_tls_use(struct http_server_tls *tls, void *session)
{
    gnutls_certificate_server_set_request(session, tls->asks_clients ? GNUTLS_CERT_REQUEST
                                                                     : GNUTLS_CERT_IGNORE);
    return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials) ? -1 : 0;
}

static void name_of(gnutls_session_t session, char *name, size_t room)
{
    unsigned count = 0;
    const gnutls_datum_t *list = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate;

    *name = '\0';
    if (!count || gnutls_x509_crt_init(&certificate))
        return;
    if (gnutls_x509_crt_import(certificate, &list[0], GNUTLS_X509_FMT_DER) ||
        gnutls_x509_crt_get_dn(certificate, name, &room))
        *name = '\0';
    gnutls_x509_crt_deinit(certificate);
}

bool http_server_tls_peer(void *session, char *ret_name, size_t room)
{
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned status = 0;

    if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) || status)
        return false;
    name_of(session, ret_name, room);
    return true;
}
