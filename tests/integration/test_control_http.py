"""Orders over TCP: who is let in, what is refused before anything listens, and the command."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess

import pytest

from lib.certificates import Authority
from lib.function import poison
from lib.machine import free_port
from lib.plugin import ids, numbered
from lib.sluice import run_cli
from lib.waiting import until

TOKEN = "a-token-of-the-tests-0123456789"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("control-ca"))


@pytest.fixture
def idle(sluice, function, idle_source):
    """A mapping that needs no broker."""
    sluice.mapping("orders", {"source": idle_source, "target": {"http": {"url": function.url}}})
    return sluice


class Caller:
    def __init__(self, sluice, **control):
        self.sluice, self.port = sluice, free_port()
        self.control = {"listen": f"127.0.0.1:{self.port}", **control}
        self.connectors = sluice._settings["connector_directory"]
        self.context = None

    def start(self):
        self.write()
        self.sluice.start()
        return self

    def write(self):
        self.sluice.settings(control_http=self.control, connector_directory=self.connectors)

    def ask(self, method="GET", path="/v1/status", body=None, headers=(), token=TOKEN):
        """(status, headers, text)"""
        if self.context:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20,
                                                     context=self.context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            more = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, body, {**more, **dict(headers)})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()


def test_who_has_the_token_gives_orders(idle):
    caller = Caller(idle, token=TOKEN).start()
    status, _, text = caller.ask()
    assert status == 200 and json.loads(text)["mappings"][0]["name"] == "orders"
    # The same resources as those of the socket.
    assert json.loads(caller.ask(path="/v1")[2]) == idle.control("GET", "/v1")[1]
    assert caller.ask("POST", "/v1/mappings/orders/pause")[0] == 200
    assert idle.control("GET", "/v1/mappings/orders")[1]["state"] == "paused"
    order = idle.wait_for_event("control", path="/v1/mappings/orders/pause")
    assert order["from"] == "127.0.0.1"
    assert caller.ask("POST", "/v1/mappings/orders/set", '{"concurrency": 1}')[0] == 200
    # What is served without a secret elsewhere is not here, and the other way round.
    assert caller.ask(path="/metrics")[0] == 404
    assert idle.get("/v1/status")[0] == 404


def test_others_are_refused(idle):
    caller = Caller(idle, token=TOKEN).start()
    for token in (None, TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        status, headers, text = caller.ask("POST", "/v1/mappings/orders/pause", token=token)
        assert status == 401, token
        assert headers["WWW-Authenticate"].startswith('Bearer realm="sluice"')
        assert ("invalid_token" in headers["WWW-Authenticate"]) == bool(token)
        assert headers["Content-Type"] == "application/problem+json"
        assert json.loads(text)["status"] == 401
        assert TOKEN not in text
    for scheme in ("Basic", "Token", "Bearer"):
        assert caller.ask(token=None, headers={"Authorization": scheme}.items())[0] == 401
    assert caller.ask(token=None, path="/nowhere")[0] == 401, "nothing is told about what there is"
    assert caller.ask(headers=[("Origin", "http://evil.example")])[0] == 403
    assert caller.ask(headers=[("Host", "evil.example")])[0] == 403
    assert caller.ask("DELETE")[0] == 405
    assert idle.control("GET", "/v1/mappings/orders")[1]["state"] == "running"
    assert caller.ask(token=None, headers=[("Authorization", f"bearer  {TOKEN}")])[0] == 200
    assert idle.find_events("control_refused")[0]["from"] == "127.0.0.1"
    assert TOKEN not in "\n".join(idle.lines)


def test_bodies_are_bounded_and_those_of_strangers_are_not_kept(idle):
    caller = Caller(idle, token=TOKEN).start()
    large = b'{"concurrency": ' + b" " * (2 << 20) + b"1}"
    assert caller.ask("POST", "/v1/mappings/orders/set", large)[0] == 413
    assert caller.ask("POST", "/v1/mappings/orders/set", large, token=None)[0] == 401
    status, _, text = caller.ask("POST", "/v1/mappings/orders/set", "{")
    assert status == 400 and "no JSON" in text


def test_a_reload_takes_another_token(idle):
    path = idle.directory / "token"
    path.write_text(TOKEN + "\n")
    caller = Caller(idle, token="TOKEN")

    def write():
        caller.write()
        file = idle.config / "sluice.yaml"
        file.write_text(file.read_text().replace('"TOKEN"', f"!file {path}"))
    write()
    idle.start()
    assert caller.ask()[0] == 200
    path.write_text("another-token-of-the-tests")
    status, _, text = caller.ask("POST", "/v1/reload")
    assert status == 200 and json.loads(text)["needs_restart"] == []
    assert caller.ask()[0] == 401
    assert caller.ask(token="another-token-of-the-tests")[0] == 200
    caller.control["listen"] = f"127.0.0.1:{free_port()}"
    write()
    assert idle.control("POST", "/v1/reload")[1]["needs_restart"] == ["control_http"]
    assert caller.ask(token="another-token-of-the-tests")[0] == 200


def tls(authority, **more):
    return {"certificate_file": authority.path("server.crt"),
            "key_file": authority.path("server.key"), **more}


def speaks(port, version):
    """Whether a handshake of that version succeeds with a client that insists on nothing else."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher",
                           "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    return done.returncode == 0 and "BEGIN CERTIFICATE" in done.stdout


def test_tls_with_a_token(idle, authority):
    caller = Caller(idle, token=TOKEN, tls=tls(authority)).start()
    caller.context = ssl.create_default_context(cafile=authority.ca)
    assert caller.ask()[0] == 200
    assert caller.ask(token=None)[0] == 401
    assert speaks(caller.port, "-tls1_2") and speaks(caller.port, "-tls1_3")
    assert not speaks(caller.port, "-tls1_1") and not speaks(caller.port, "-tls1")
    caller.context = None
    with pytest.raises((http.client.HTTPException, OSError)):
        caller.ask()


@pytest.mark.parametrize("token", [None, TOKEN], ids=["alone", "with a token"])
def test_client_certificates(idle, authority, tmp_path, token):
    control = {"tls": tls(authority, client_ca_file=str(authority.ca))}
    caller = Caller(idle, **control, **({"token": token} if token else {})).start()
    stranger = Authority(tmp_path / "other")

    def shows(who=None):
        caller.context = ssl.create_default_context(cafile=authority.ca)
        if who:
            caller.context.load_cert_chain(who.path("client.crt"), who.path("client.key"))

    def answer(token):
        try:
            return caller.ask("POST", "/v1/mappings/orders/pause", token=token)[0]
        except (ssl.SSLError, OSError, http.client.HTTPException):
            return "no connection"
    shows(authority)
    assert answer(token) == 200
    assert "client" in idle.wait_for_event("control", path="/v1/mappings/orders/pause")["by"]
    if token:
        assert answer(None) == 401
    shows()
    assert answer(token) == 403
    shows(stranger)
    assert answer(token) in (403, "no connection")


@pytest.fixture
def served(directory):
    """Files that a test may replace."""
    authority = Authority(directory / "served")

    class Served:
        control = tls(authority, client_ca_file=str(authority.ca))

        def replace(self, other, names):
            """Gives back what was there."""
            before = {name: (authority.directory / name).read_bytes() for name in names}
            self.write({name: (other.directory / name).read_bytes() for name in names})
            return before

        def replace_clients(self, other):
            self.write({"clients.pem": other.ca.read_bytes()})

        def write(self, contents):
            for name, content in contents.items():
                (authority.directory / f"{name}.new").write_bytes(content)
                (authority.directory / f"{name}.new").rename(authority.directory / name)
    Served.authority = authority
    return Served()


def trusting(authority, client=None):
    context = ssl.create_default_context(cafile=authority.ca)
    if client:
        context.load_cert_chain(client.path("client.crt"), client.path("client.key"))
    return context


def call(caller, authority, *arguments, client=None, **more):
    caller.context = trusting(authority, client)
    return caller.ask(*arguments, **more)


def kept(caller, context):
    """A connection that stays; asks over it."""
    connection = http.client.HTTPSConnection("127.0.0.1", caller.port, timeout=20, context=context)
    connection.connect()
    socket = connection.sock

    def ask():
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        response.read()
        assert connection.sock is socket, "the connection was closed"
        return response.status
    return connection, ask


def test_a_reload_takes_another_certificate(idle, authority, served):
    caller = Caller(idle, token=TOKEN, tls={**served.control}).start()
    del caller.control["tls"]["client_ca_file"]
    caller.write()
    assert idle.control("POST", "/v1/reload")[1]["needs_restart"] == [], "an authority less"
    pid = idle.pid
    connection, ask = kept(caller, trusting(served.authority))
    assert ask() == 200

    # What is wrong changes nothing, and says what it is.
    before = served.replace(authority, ["server.key"])
    status, _, text = call(caller, served.authority, "POST", "/v1/reload")
    assert status == 422 and "server.key" in text and "its own key" in text, text
    assert call(caller, served.authority)[0] == 200 and ask() == 200
    served.write(before)

    served.replace(authority, ["server.crt", "server.key"])
    os.kill(pid, signal.SIGHUP)
    until(lambda: len(idle.find_events("control_certificate")) == 2, 20, "the changed certificate")
    assert call(caller, authority)[0] == 200
    with pytest.raises(ssl.SSLError):
        call(caller, Authority(served.authority.directory / "stranger"))
    assert ask() == 200, "who is connected goes on"
    connection.close()
    assert idle.control("POST", "/v1/reload")[1]["needs_restart"] == []
    assert len(idle.find_events("control_certificate")) == 2, "once for each change"
    assert idle.pid == pid and not idle.find_events("reload_needs_restart")


def test_a_reload_takes_another_authority_for_clients(idle, authority, served):
    caller = Caller(idle, tls={**served.control, "client_ca_file": str(served.authority.directory
                                                                      / "clients.pem")})
    served.replace_clients(served.authority)
    caller.start()
    connection, ask = kept(caller, trusting(served.authority, served.authority))
    assert ask() == 200

    def answer(client):
        try:
            return call(caller, served.authority, client=client, token=None)[0]
        except (ssl.SSLError, OSError, http.client.HTTPException):
            return "no connection"
    assert answer(served.authority) == 200 and answer(authority) in (403, "no connection")
    served.replace_clients(authority)
    assert idle.control("POST", "/v1/reload")[1]["needs_restart"] == []
    assert answer(authority) == 200 and answer(served.authority) in (403, "no connection")
    assert ask() == 403, "nobody vouches any more for who is connected"
    connection.close()


def test_what_waits_for_a_restart_loosens_nothing(idle, served):
    caller = Caller(idle, token=TOKEN).start()
    caller.control["tls"] = served.control
    del caller.control["token"]
    caller.write()
    assert idle.control("POST", "/v1/reload")[1]["needs_restart"] == ["control_http"]
    assert caller.ask()[0] == 200 and caller.ask(token=None)[0] == 401
    del caller.control["tls"]
    caller.control["token"] = TOKEN + "2"
    caller.write()
    assert idle.control("POST", "/v1/reload")[1]["needs_restart"] == []
    assert caller.ask()[0] == 401 and caller.ask(token=TOKEN + "2")[0] == 200


def test_what_would_let_in_anybody_is_refused(idle, authority, directory):
    other = Authority(directory / "other")
    readable = directory / "writable.crt"
    readable.write_text((authority.directory / "server.crt").read_text())
    readable.chmod(0o666)
    good = tls(authority)
    mistakes = {
        "anybody on this machine": {"listen": "127.0.0.1:0"},
        "shorter than 16": {"listen": "127.0.0.1:0", "token": "secret"},
        "visible one of ASCII": {"listen": "127.0.0.1:0", "token": "0123456789 0123456789"},
        "other machines can reach": {"listen": "0.0.0.0:9091", "token": TOKEN},
        "other machines can reach this": {"listen": "[::]:9091", "token": TOKEN},
        "other machines can reach this address": {"listen": "192.0.2.1:9091", "token": TOKEN},
        "is a Unix socket already": {"listen": "unix:/run/x", "token": TOKEN},
        "expected ADDRESS:PORT": {"listen": "localhost", "token": TOKEN},
        "expected control_http.tls.key_file": {"listen": "127.0.0.1:0", "token": TOKEN, "tls": {
            "certificate_file": good["certificate_file"]}},
        "over TLS only": {"listen": "127.0.0.1:0", "tls": {"client_ca_file": str(authority.ca)}},
        "its own key": {"listen": "127.0.0.1:0", "token": TOKEN, "tls": {
            **good, "key_file": other.path("server.key")}},
        "cannot be read": {"listen": "127.0.0.1:0", "token": TOKEN, "tls": {
            **good, "key_file": "/nowhere/key"}},
        "PEM certificates are expected": {"listen": "127.0.0.1:0", "tls": {
            **good, "client_ca_file": good["key_file"]}},
        "can be written by everybody": {"listen": "127.0.0.1:0", "token": TOKEN, "tls": {
            **good, "certificate_file": str(readable)}},
    }
    connectors = idle._settings["connector_directory"]
    for text, control in mistakes.items():
        idle.settings(control_http=control, connector_directory=connectors)
        done = run_cli("check", idle.config)
        assert done.returncode == 78, (text, done.stdout)
        said = done.stdout + done.stderr
        assert text in said and re.search(r"sluice.yaml:\d+:", said), (text, said)
        assert TOKEN not in said
    idle.settings(control_http={"token": TOKEN}, connector_directory=connectors)
    done = run_cli("check", idle.config)
    assert done.returncode == 0 and "has no effect" in done.stdout + done.stderr
    # With TLS and a token other machines may.
    idle.settings(control_http={"listen": "0.0.0.0:0", "token": TOKEN, "tls": good},
                  connector_directory=connectors)
    assert run_cli("check", idle.config).returncode == 0


def test_the_command_gives_orders_over_it(idle, authority, directory):
    caller = Caller(idle, token=TOKEN, tls=tls(authority, client_ca_file=str(authority.ca))).start()
    url = f"https://localhost:{caller.port}"
    (directory / "token").write_text(TOKEN + "\n")
    shown = {"SLUICE_CONTROL_CA_FILE": str(authority.ca),
             "SLUICE_CONTROL_CERTIFICATE_FILE": authority.path("client.crt"),
             "SLUICE_CONTROL_KEY_FILE": authority.path("client.key")}

    def run(*arguments, **environment):
        return run_cli(*arguments, env={**os.environ, **shown, **environment})
    by_file = {"SLUICE_CONTROL_TOKEN_FILE": str(directory / "token")}
    done = run("status", "--control", url, **by_file)
    assert done.returncode == 0 and "orders" in done.stdout, done.stderr
    assert run("pause", "orders", "--control", url + "/", SLUICE_CONTROL_TOKEN=TOKEN).returncode == 0
    assert run("status", "--control", url, **by_file).returncode == 1
    assert run("reload", "--control", url, **by_file).returncode == 0
    done = run("status", "--control", url)
    assert done.returncode == 77 and "token" in done.stderr
    done = run("status", "--control", url, SLUICE_CONTROL_TOKEN="wrong")
    assert done.returncode == 77 and "wrong" not in done.stderr
    done = run("status", "--control", url, SLUICE_CONTROL_TOKEN_FILE="/nowhere")
    assert done.returncode == 77 and "/nowhere" in done.stderr
    done = run("status", "--control", url, SLUICE_CONTROL_CA_FILE="", **by_file)
    assert done.returncode not in (0, 1, 2), "a certificate that nobody vouches for"
    done = run("status", "--control", "http://192.0.2.1:9091", SLUICE_CONTROL_TOKEN=TOKEN)
    assert done.returncode == 77 and "unencrypted" in done.stderr
    done = run("status", "--control", "localhost:1")
    assert done.returncode == 64 and "http://" in done.stderr
    done = run("status", "--control", f"http://127.0.0.1:{free_port()}", SLUICE_CONTROL_TOKEN=TOKEN)
    assert done.returncode == 69


def test_a_replay_by_http_is_nobodys_of_this_machine(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(["m-0"], 400)
    sluice.mapping("orders", mapping_for(topic))
    caller = Caller(sluice, token=TOKEN).start()
    cluster.produce(topic, numbered(2))
    sluice.wait_dead(1)
    function.behave = poison([])
    status, _, text = caller.ask("POST", "/v1/replays", '{"query": {}, "login": "night"}')
    assert status == 202 and json.loads(text)["uid"] is None
    function.wait_done(ids(2), 20)
    done = until(lambda: run_cli("dlq", "log", "--state", sluice.state).stdout, 20, "the log")
    assert "night(HTTP)" in done
    lines = run_cli("dlq", "log", "--json", "--state", sluice.state).stdout.splitlines()
    assert json.loads(lines[0])["uid"] is None
