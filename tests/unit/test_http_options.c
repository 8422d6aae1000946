/* SPDX-License-Identifier: MIT
 * What settings make of a client: credentials, headers, TLS, and refusals. */
#define _GNU_SOURCE
#include "io/http_options.h"

#include <signal.h>

#include "http_test_setup.h"

static char seen[4096];

static void remember(struct peer *peer)
{
    while (peer_receive(peer)) {
        snprintf(seen, sizeof seen, "%s", peer->head);
        if (!peer_say(peer, "HTTP/1.1 204 No Content\r\n\r\n"))
            return;
    }
}

static void credentials_and_headers(void **state)
{
    char *headers[] = {(char *)"X-Own: 1", (char *)"content-type: text/x", NULL};
    char *agent[] = {(char *)"user-agent: own/1", NULL};
    struct setup *setup = begin(remember);
    struct result result;

    setup->settings.auth = HTTP_AUTH_BASIC;
    setup->settings.username = (char *)"user";
    setup->settings.password = (char *)"pa:ss";
    setup->settings.headers = headers;
    result = invoke(setup);
    assert_int_equal(result.answer.status, 204);
    assert_non_null(strstr(seen, "\r\nAuthorization: Basic dXNlcjpwYTpzcw==\r\n"));
    assert_non_null(strstr(seen, "\r\nX-Own: 1\r\n"));
    assert_non_null(strstr(seen, "\r\ncontent-type: text/x\r\n"));
    assert_null(strstr(seen, "application/json"));
    assert_non_null(strstr(seen, "\r\nUser-Agent: sluice/"));
    free(result.body);
    http_client_free(setup->client);
    setup->client = NULL;
    setup->settings.auth = HTTP_AUTH_BEARER;
    setup->settings.token = (char *)"t0k.en";
    result = invoke(setup);
    assert_non_null(strstr(seen, "\r\nAuthorization: Bearer t0k.en\r\n"));
    free(result.body);
    http_client_free(setup->client);
    setup->client = NULL;
    setup->settings.headers = agent;
    result = invoke(setup);
    assert_non_null(strstr(seen, "\r\nuser-agent: own/1\r\n"));
    assert_null(strstr(seen, "sluice/"));
    free(result.body);
    end(setup);
}

/* ---- TLS ---- */

static char tls_directory[64];

static const char *tls_file(const char *name)
{
    static char paths[4][96];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", tls_directory, name);
    return path;
}

static int make_certificates(void **state)
{
    static const char script[] =
        "cd %s && exec >log 2>&1 && set -e\n"
        "req='openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
        "$req -x509 -subj /CN=ca -keyout ca.key -out ca.pem -days 2\n"
        "$req -x509 -subj /CN=other -keyout other.key -out other.pem -days 2\n"
        "for n in localhost:server wrong.example:wrong client:client; do\n"
        "  $req -subj /CN=${n%%:*} -addext subjectAltName=DNS:${n%%:*} -keyout ${n#*:}.key "
        "-out ${n#*:}.csr\n"
        "  openssl x509 -req -in ${n#*:}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
        "-copy_extensions copy -out ${n#*:}.pem\n"
        "done\n"
        "openssl ec -in client.key -aes128 -passout pass:secret -out locked.key\n";
    char command[2048];

    snprintf(tls_directory, sizeof tls_directory, "/tmp/sluice-test-XXXXXX");
    if (!mkdtemp(tls_directory))
        return -1;
    snprintf(command, sizeof command, script, tls_directory);
    return system(command);
}

static int remove_certificates(void **state)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", tls_directory);
    return system(command);
}

static SSL_CTX *tls_server(const char *name, int most_version, bool want_client)
{
    SSL_CTX *tls = SSL_CALL(SSL_CTX_new)(SSL_CALL(TLS_server_method)());
    char file[32];

    snprintf(file, sizeof file, "%s.pem", name);
    assert_int_equal(SSL_CALL(SSL_CTX_use_certificate_file)(tls, tls_file(file), SSL_FILETYPE_PEM),
                     1);
    snprintf(file, sizeof file, "%s.key", name);
    assert_int_equal(SSL_CALL(SSL_CTX_use_PrivateKey_file)(tls, tls_file(file), SSL_FILETYPE_PEM),
                     1);
    SSL_CALL(SSL_CTX_ctrl)(tls, SSL_CTRL_SET_MAX_PROTO_VERSION, most_version, NULL);
    if (most_version < TLS1_2_VERSION) {
        SSL_CALL(SSL_CTX_ctrl)(tls, SSL_CTRL_SET_MIN_PROTO_VERSION, most_version, NULL);
        SSL_CALL(SSL_CTX_set_cipher_list)(tls, "ALL:@SECLEVEL=0");
    }
    if (want_client) {
        SSL_CALL(SSL_CTX_load_verify_locations)(tls, tls_file("ca.pem"), NULL);
        SSL_CALL(SSL_CTX_set_verify)(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return tls;
}

/* A setup with a TLS server of that certificate; the client trusts the CA. */
static struct setup *begin_tls(const char *certificate, int most_version, bool want_client)
{
    static char ca[96];
    SSL_CTX *tls = tls_server(certificate, most_version, want_client);
    struct server *server = server_start(say_ok, tls, NULL);
    struct setup *setup;
    char url[64];

    snprintf(url, sizeof url, "https://localhost:%d/f", server->port);
    setup = begin_url(url);
    setup->server = server;
    snprintf(ca, sizeof ca, "%s", tls_file("ca.pem"));
    setup->settings.ca_file = ca;
    return setup;
}

static void end_tls(struct setup *setup, enum http_end wanted, const char *error_part)
{
    SSL_CTX *tls = setup->server->tls;
    struct result result = invoke(setup);

    if (result.answer.end != wanted || !strstr(result.answer.error, error_part))
        fail_msg("%d: %s", result.answer.end, result.answer.error);
    if (wanted == HTTP_UNREACHABLE)
        assert_int_equal(atomic_load(&setup->server->requests), 0);
    free(result.body);
    end(setup);
    SSL_CALL(SSL_CTX_free)(tls);
}

static void tls_is_verified(void **state)
{
    struct setup *setup;

    end_tls(begin_tls("server", TLS1_3_VERSION, false), HTTP_ANSWERED, "");
    end_tls(begin_tls("server", TLS1_2_VERSION, false), HTTP_ANSWERED, "");
    end_tls(begin_tls("server", TLS1_1_VERSION, false), HTTP_UNREACHABLE, "TLS 1.2 or later");
    end_tls(begin_tls("wrong", TLS1_3_VERSION, false), HTTP_UNREACHABLE, "not trusted");
    setup = begin_tls("server", TLS1_3_VERSION, false);
    setup->settings.ca_file = (char *)tls_file("other.pem");
    end_tls(setup, HTTP_UNREACHABLE, "not trusted");
    setup = begin_tls("server", TLS1_3_VERSION, false);
    setup->settings.ca_file = NULL;
    end_tls(setup, HTTP_UNREACHABLE, "not trusted");
    setup = begin_tls("wrong", TLS1_3_VERSION, false);
    setup->settings.ca_file = NULL;
    setup->settings.insecure = true;
    end_tls(setup, HTTP_ANSWERED, "");
}

static void answer_once(struct peer *peer)
{
    if (peer_receive(peer))
        peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* The end of a TLS connection begins with bytes to read, which are not mistaken for life. */
static void tls_closed_while_idle(void **state)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct setup *setup = begin_tls("server", version, false);
        SSL_CTX *tls = setup->server->tls;
        struct result result = {0};
        int64_t until = clock_now() + PATIENCE;

        setup->server->script = answer_once;
        for (int i = 1; i <= 4; i++) {
            send_body(setup, &result, "x", 1);
            wait_for(setup, &result, i);
            assert_int_equal(result.answer.end, HTTP_ANSWERED);
            while (atomic_load(&setup->server->ended) < i && clock_now() < until)
                ;
        }
        assert_int_equal(atomic_load(&setup->server->requests), 4);
        free(result.body);
        end(setup);
        SSL_CALL(SSL_CTX_free)(tls);
    }
}

/* Kept alive over TLS too: session tickets and the like are no reason to give a connection up. */
static void tls_connection_is_kept(void **state)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct setup *setup = begin_tls("server", version, false);
        SSL_CTX *tls = setup->server->tls;
        struct result result = {0};

        for (int i = 1; i <= 20; i++) {
            send_body(setup, &result, "x", 1);
            wait_for(setup, &result, i);
            assert_int_equal(result.answer.end, HTTP_ANSWERED);
        }
        assert_int_equal(atomic_load(&setup->server->connections), 1);
        free(result.body);
        end(setup);
        SSL_CALL(SSL_CTX_free)(tls);
    }
}

static void client_certificates(void **state)
{
    struct setup *setup;

    end_tls(begin_tls("server", TLS1_2_VERSION, true), HTTP_UNREACHABLE, "no TLS connection");
    /* With TLS 1.3 the client is done before the server says no: something may have been sent. */
    end_tls(begin_tls("server", TLS1_3_VERSION, true), HTTP_BROKEN, "certificate required");
    setup = begin_tls("server", TLS1_3_VERSION, true);
    setup->settings.certificate_file = (char *)tls_file("client.pem");
    setup->settings.key_file = (char *)tls_file("client.key");
    end_tls(setup, HTTP_ANSWERED, "");
    setup = begin_tls("server", TLS1_3_VERSION, true);
    setup->settings.certificate_file = (char *)tls_file("client.pem");
    setup->settings.key_file = (char *)tls_file("locked.key");
    setup->settings.key_password = (char *)"secret";
    end_tls(setup, HTTP_ANSWERED, "");
    setup = begin_tls("server", TLS1_3_VERSION, true);
    setup->settings.certificate_file = (char *)tls_file("client.pem");
    setup->settings.key_file = (char *)tls_file("locked.key");
    setup->settings.key_password = (char *)"wrong";
    end_tls(setup, HTTP_UNREACHABLE, "key's password");
    setup = begin_tls("server", TLS1_3_VERSION, true);
    setup->settings.certificate_file = (char *)tls_file("client.pem");
    setup->settings.key_file = (char *)tls_file("server.key");
    end_tls(setup, HTTP_UNREACHABLE, "certificate");
}

/* ---- settings and requests that are refused ---- */

static void expect_refusal(const struct http_settings *settings, const char *part)
{
    struct loop *loop = loop_new(NULL);
    struct fault fault = {""};

    assert_null(http_client_new(loop, settings, &fault));
    if (!strstr(fault.text, part) || strstr(fault.text, "s3cret"))
        fail_msg("%s", fault.text);
    loop_free(loop);
}

static void settings_are_checked(void **state)
{
    static const struct {
        const char *url, *part;
    } urls[] = {
        {NULL, "not valid"},
        {"", "not valid"},
        {"127.0.0.1:80", "not valid"},
        {"ftp://h/s3cret", "scheme is ftp"},
        {"file:///etc/s3cret", "scheme is file"},
        {"http://", "not valid"},
        {"http://user:s3cret@h/", "user name"},
        {"http://h:99999/", "not valid"},
        {"http://h h/", "not valid"},
    };
    char *no_colon[] = {(char *)"s3cret", NULL},
         *line_break[] = {(char *)"A: s3cret\r\nB: 1", NULL};
    char *no_name[] = {(char *)": s3cret", NULL},
         *double_auth[] = {(char *)"authorization: x", NULL};
    struct http_settings settings = {.timeout_us = CLOCK_SECOND,
                                     .connect_timeout_us = CLOCK_SECOND};
    char long_path[200];

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        settings.url = (char *)urls[i].url;
        expect_refusal(&settings, urls[i].part);
    }
    settings.url = (char *)"http://h/";
    settings.headers = no_colon;
    expect_refusal(&settings, "`Name: value`");
    settings.headers = no_name;
    expect_refusal(&settings, "`Name: value`");
    settings.headers = line_break;
    expect_refusal(&settings, "header A");
    settings.headers = double_auth;
    settings.auth = HTTP_AUTH_BEARER;
    settings.token = (char *)"s3cret";
    expect_refusal(&settings, "keep one");
    settings.headers = NULL;
    settings.token = (char *)"s3cret\n";
    expect_refusal(&settings, "line break");
    settings.auth = HTTP_AUTH_BASIC;
    settings.username = (char *)"a:b";
    expect_refusal(&settings, "colon");
    settings.auth = HTTP_AUTH_NONE;
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    settings.unix_socket = long_path;
    expect_refusal(&settings, "too long");
    settings.unix_socket = NULL;
    settings.ca_file = (char *)"/nonexistent.pem";
    expect_refusal(&settings, "CA file /nonexistent.pem: No such file");
    settings.ca_file = (char *)"/dev/null";
    expect_refusal(&settings, "not a PEM file");
    settings.ca_file = NULL;
    settings.key_file = (char *)"/dev/null";
    expect_refusal(&settings, "without its certificate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_and_headers),
        cmocka_unit_test_setup_teardown(tls_is_verified, make_certificates, remove_certificates),
        cmocka_unit_test_setup_teardown(tls_closed_while_idle, make_certificates,
                                        remove_certificates),
        cmocka_unit_test_setup_teardown(tls_connection_is_kept, make_certificates,
                                        remove_certificates),
        cmocka_unit_test_setup_teardown(client_certificates, make_certificates,
                                        remove_certificates),
        cmocka_unit_test(settings_are_checked),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN); /* the server's TLS writes; the client raises none */
    http_client_global_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_client_global_fini();
    return failed;
}
