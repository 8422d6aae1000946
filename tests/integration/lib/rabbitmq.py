"""Real RabbitMQ brokers, started by hand on 127.0.0.1, and what tests do with them."""

import contextlib
import glob
import json
import os
import pathlib
import re
import signal
import subprocess
import uuid

import pika

from lib.certificates import Authority
from lib.machine import PATIENCE, free_port, stop_process, tail
from lib.waiting import until

PASSWORD = "s3cr3t-of-tests"  # of every user but guest; tests look for it in logs
COOKIE = "sluicetests"
LISTENERS = ("AMQP", "TLS", "DISTRIBUTION", "EPMD")
QUORUM = {"x-queue-type": "quorum"}
STREAM = {"x-queue-type": "stream"}
# What a client calls its connection P, as a list of characters.
_NAME = ("case catch lists:keyfind(<<\"connection_name\">>, 1, proplists:get_value("
         "client_properties, rabbit_networking:connection_info(P, [client_properties]), [])) of "
         "{_, _, B} -> binary_to_list(B); _ -> [] end")


def scripts():
    """The directory of RabbitMQ's own scripts (those in /usr/sbin change to another user)."""
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
    if not found:
        raise FileNotFoundError("no rabbitmq-server: run `tests/dependencies test`")
    return found[-1]


class RabbitServer:
    """A broker of our own. Stays on its ports and keeps its data when it is killed and started
    again."""

    def __init__(self, directory, plugins=(), ports=None, **settings):
        """`ports`: those of a server that another process started in this directory."""
        self.ports = ports or {name: free_port() for name in LISTENERS}
        self.directory = pathlib.Path(directory)
        self.log = self.directory / "rabbitmq.log"
        self._process = self._epmd = None
        self.authority = Authority(self.directory / "certificates")
        if not ports:
            self._configure(plugins, settings)

    def _configure(self, plugins, settings):
        (self.directory / "home").mkdir(parents=True, exist_ok=True)
        cookie = self.directory / "home/.erlang.cookie"
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)
        (self.directory / "enabled_plugins").write_text(f"[{','.join(plugins)}].")
        (self.directory / "rabbitmq.conf").write_text(self._settings(settings))
        (self.directory / "advanced.config").write_text(
            "[{rabbit, [{quorum_tick_interval, 100}, {collect_statistics_interval, 200}]}].")

    def _settings(self, extra):
        lines = {
            "listeners.tcp.local": f"127.0.0.1:{self.ports['AMQP']}",
            "listeners.ssl.local": f"127.0.0.1:{self.ports['TLS']}",
            "ssl_options.cacertfile": self.authority.ca,
            "ssl_options.certfile": self.authority.path("server.crt"),
            "ssl_options.keyfile": self.authority.path("server.key"),
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
            "auth_mechanisms.1": "PLAIN",
            "loopback_users.guest": "true",
            "vm_memory_high_watermark.absolute": "1GB",
            "disk_free_limit.absolute": "50MB",
            "log.file": "rabbit.log",
            "log.console": "false",
            **{key.replace("__", "."): value for key, value in extra.items()},
        }
        return "".join(f"{key} = {value}\n" for key, value in lines.items())

    def _environment(self):
        at = self.directory
        only_here = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            **os.environ, "HOME": str(at / "home"),
            "RABBITMQ_NODENAME": f"sluice-{self.ports['AMQP']}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.ports["AMQP"]),
            "RABBITMQ_DIST_PORT": str(self.ports["DISTRIBUTION"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self.ports["EPMD"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{only_here} +sbwt none",
            "RABBITMQ_CTL_ERL_ARGS": only_here,
            "RABBITMQ_CONFIG_FILE": str(at / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(at / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(at / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(at / "mnesia"), "RABBITMQ_LOG_BASE": str(at / "log"),
            "RABBITMQ_PID_FILE": str(at / "pid"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def launch(self):
        """Starts without waiting."""
        if not self._epmd:
            self._epmd = subprocess.Popen(["epmd", "-port", str(self.ports["EPMD"])],
                                          env=self._environment(), stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.log, "ab") as log:
            # A session of its own: the script, the Erlang machine and its children end together.
            self._process = subprocess.Popen(
                [scripts() + "/rabbitmq-server"], env=self._environment(), cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def start(self):
        self.launch()
        self.wait_ready()
        return self

    def publish(self):
        """Makes it the session's broker, for `shared_server`."""
        os.environ["SLUICE_TEST_RABBITMQ"] = json.dumps([str(self.directory), self.ports])

    def wait_ready(self, timeout=60):
        def answers():
            code = self._process and self._process.poll()
            assert code is None, f"RabbitMQ ended with {code}:\n{tail(self.log)}"
            try:
                with self.channel():
                    return True
            except (pika.exceptions.AMQPError, OSError):
                return False

        until(answers, timeout * PATIENCE, lambda: f"start of RabbitMQ\n{tail(self.log)}",
              every=0.2)

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self):
        """SIGKILL: as a power cut for the process, but its files stay."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self):
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def stop(self):
        if self._process:
            self.kill()
        if self._epmd:
            stop_process(self._epmd)

    def address(self, listener="AMQP", host="127.0.0.1"):
        return f"{host}:{self.ports[listener]}"

    # -- as a client --

    @contextlib.contextmanager
    def channel(self, vhost="/"):
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", self.ports["AMQP"], virtual_host=vhost, heartbeat=0))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def queue(self, name=None, vhost="/", **arguments):
        """Makes a durable queue (classic, or with **QUORUM) and returns its name."""
        name = name or f"q-{uuid.uuid4().hex[:12]}"
        with self.channel(vhost) as channel:
            channel.queue_declare(name, durable=True, arguments=arguments or None)
        if arguments.get("x-queue-type") in ("quorum", "stream"):
            # RabbitMQ writes its list of them some seconds later, and after a kill until then the
            # queue has no leader.
            self.eval("[dets:sync(Table) || Table <- dets:all()], ok")
        return name

    def delete(self, queue, vhost="/"):
        with self.channel(vhost) as channel:
            channel.queue_delete(queue)

    def produce(self, queue, messages, vhost="/"):
        """Messages are dicts: value (str, bytes), headers (dict), and properties of pika's names.
        Returns when the broker has confirmed them all."""
        with self.channel(vhost) as channel:
            channel.tx_select()
            for number, message in enumerate(messages):
                properties = {key: value for key, value in message.items() if key != "value"}
                body = message["value"]
                channel.basic_publish(
                    "", queue, body if isinstance(body, bytes) else body.encode(),
                    pika.BasicProperties(**{"delivery_mode": 2, **properties}))
                if number % 1000 == 999:
                    channel.tx_commit()
            channel.tx_commit()

    def ready(self, queue, vhost="/"):
        """Messages that wait for a consumer."""
        with self.channel(vhost) as channel:
            return channel.queue_declare(queue, passive=True).method.message_count

    def take(self, queue, vhost="/"):
        """Takes all messages out, as [(value, properties)]."""
        found = []
        with self.channel(vhost) as channel:
            while True:
                method, properties, value = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return found
                found.append((value, properties))

    # -- as its operator --

    def eval(self, expression):
        """Evaluates Erlang in the broker and returns the text of the value."""
        found = []

        def answers():  # two at the same moment may refuse each other
            done = subprocess.run(
                ["erl_call", "-n", f"sluice-{self.ports['AMQP']}@localhost", "-c", COOKIE, "-r",
                 "-e"], input=expression + ".\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, env={**os.environ, "ERL_EPMD_PORT": str(self.ports["EPMD"])},
                timeout=30 * PATIENCE)
            found[:] = [done.returncode, done.stdout]
            return "failed to connect" not in done.stdout
        until(answers, 10 * PATIENCE, lambda: f"answer of the broker to {expression}: {found}")
        match = re.fullmatch(r"\{ok, (.*)\}\s*", found[1], re.DOTALL)
        assert match, f"{expression}: {found}"
        return match[1]

    def unsettled(self, queue, vhost="/"):
        """Messages that wait and messages that a consumer has not acknowledged."""
        # Quorum queues tell their log's state; what their info says is older.
        return int(self.eval(
            f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, '
            f'<<"{queue}">>)), case amqqueue:get_type(Q) of rabbit_quorum_queue -> '
            f'{{ok, N, _}} = ra:consistent_query(amqqueue:get_pid(Q), '
            f'fun rabbit_fifo:query_messages_total/1), N; '
            f'_ -> [{{messages, N}}] = rabbit_amqqueue:info(Q, [messages]), N end'))

    def stream_end(self, queue):
        """The offset behind a stream's newest message; what its info says is seconds older."""
        return 1 + int(self.eval(
            f'maps:get(offset, maps:get({{osiris_writer, rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)}}, '
            'osiris_counters:overview()))'))

    def wait_settled(self, *queues, timeout=20):
        """Waits until nothing is left in them."""
        found = {}

        def empty():
            found.update({queue: self.unsettled(queue) for queue in queues})
            return not any(found.values())
        until(empty, timeout * PATIENCE, lambda: f"settlement of all ({found} left)", every=0.1)

    def connections(self):
        """Names that clients gave their connections."""
        names = self.eval(f"lists:append([N ++ [10] || P <- rabbit_networking:connections(), "
                          f"N <- [{_NAME}], N =/= []])")
        return json.loads(names).split("\n")[:-1] if names.startswith('"') else []

    def close_connection(self, name):
        """Cuts it, without a word of AMQP."""
        self.eval(f"[exit(P, kill) || P <- rabbit_networking:connections(), "
                  f'{_NAME} =:= "{name}"], ok')

    def user(self, name, password=PASSWORD, vhost="/", read=".*", write=".*"):
        self.eval(f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password}">>, '
                  f'<<"tests">>), rabbit_auth_backend_internal:set_permissions(<<"{name}">>, '
                  f'<<"{vhost}">>, <<"">>, <<"{write}">>, <<"{read}">>, <<"tests">>)')

    def vhost(self, name):
        self.eval(f'rabbit_vhost:add(<<"{name}">>, <<"tests">>), '
                  f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
                  f'<<".*">>, <<".*">>, <<".*">>, <<"tests">>)')


def shared_server():
    """The session's broker as `RabbitServer.publish` announced it."""
    directory, ports = json.loads(os.environ["SLUICE_TEST_RABBITMQ"])
    server = RabbitServer(directory, ports=ports)
    server.wait_ready()
    return server
