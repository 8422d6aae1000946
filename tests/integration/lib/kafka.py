"""Real Apache Kafka brokers, and the tool that talks to them."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import uuid

from lib.certificates import Authority, TokenIssuer
from lib.machine import BUILD, PATIENCE, free_port, has_ipv6, java, stop_process, tail
from lib.waiting import until

PASSWORD = "s3cr3t-of-tests"  # of every SASL user; tests look for it in logs
LISTENERS = {  # name: protocol
    "PLAINTEXT": "PLAINTEXT", "SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "TLS": "SSL",
    "MTLS": "SSL", "PROXIED": "PLAINTEXT", "NAMED": "PLAINTEXT", "SIX": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT"}
# Clients of a listener that is told otherwise: another port, where a test may have a proxy; another name,
# which it may make known to them; IPv6.
PROXIES = {"PROXIED": "PROXY", "NAMED": "NAMEDPROXY"}
NAMES = {"NAMED": "kafka.sluice-test", "SIX": "[::1]"}
JVM = ["-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
       "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


class ToolError(AssertionError):
    pass


class Tool:
    """The kafka_tool process of one cluster. Any thread."""

    def __init__(self, address):
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [BUILD / "tests/kafka_tool", f"bootstrap.servers={address}", "log_level=0",
             "reconnect.backoff.max.ms=500"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    # Errors of a broker that has just started.
    PASSING = ("in progress", "not available", "Not coordinator")

    def call(self, op, before="", **arguments):
        """Sends prepared lines and one command, and returns its answer."""
        command = json.dumps({"op": op, **arguments}) + "\n"
        answer = {}

        def answered():
            answer.update(self._exchange(before + command))
            return answer["ok"] or before or \
                not any(text in answer["error"] for text in self.PASSING)
        until(answered, 20 * PATIENCE, lambda: f"answer to {op} ({answer.get('error')})", every=0.2)
        if not answer["ok"]:
            raise ToolError(f"{op}: {answer['error']}")
        return answer

    def _exchange(self, text):
        with self._lock:
            try:
                self._process.stdin.write(text)
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            raise ToolError(f"kafka_tool ended with {self._process.wait()} during {text[-300:]}")
        return json.loads(line)

    @property
    def alive(self):
        return self._process.poll() is None

    def close(self):
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        stop_process(self._process)
        self._process.stdout.close()


def _bytes(value):
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _produce_line(message):
    line = {"op": "produce", **message, "key": _bytes(message.get("key")),
            "value": _bytes(message.get("value"))}
    if "headers" in message:
        line["headers"] = [[name, _bytes(value)] for name, value in message["headers"]]
    return json.dumps(line)


class Cluster:
    """A cluster as its clients see it."""

    def __init__(self, ports, directory):
        self.ports = ports
        self.directory = pathlib.Path(directory)
        self.authority = Authority(self.directory / "certificates")
        self.issuer = TokenIssuer(self.directory / "certificates")
        self._tool = None
        self._partitions = {}

    def address(self, listener="PLAINTEXT"):
        return f"{NAMES.get(listener, '127.0.0.1')}:{self.ports[PROXIES.get(listener, listener)]}"

    @property
    def tool(self):
        if not self._tool or not self._tool.alive:
            self._tool = Tool(self.address())
        return self._tool

    def topic(self, partitions=4, name=None, **config):
        """Makes a topic and returns its name. `config` with _ for the dots."""
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        self._partitions[name] = partitions
        self.tool.call("create_topic", topic=name, partitions=partitions,
                       config={key.replace("_", "."): value for key, value in config.items()})
        return name

    def produce(self, topic, messages):
        """Messages are dicts: key, value (str, bytes, None), headers, partition, timestamp."""
        lines = "".join(_produce_line({"topic": topic, **message}) + "\n" for message in messages)
        return self.tool.call("flush", before=lines)["delivered"]

    def transaction(self, topic, messages, commit):
        self.tool.call("begin")
        self.produce(topic, messages)
        self.tool.call("commit" if commit else "abort")

    def committed(self, group, topic):
        """{partition: committed offset}"""
        found = self.tool.call("committed", group=group, topic=topic,
                               partitions=self._partitions.get(topic, 1))["offsets"]
        return {int(partition): offset for partition, offset in found.items()}

    def watermarks(self, topic, partitions):
        """[(first offset, offset after the last)] of each partition."""
        return [tuple(pair) for pair in
                self.tool.call("watermarks", topic=topic, partitions=partitions)["watermarks"]]

    def wait_committed(self, group, topic, partitions, timeout=20):
        """Waits until the group has committed all that the topic holds."""
        ends = {p: pair[1] for p, pair in enumerate(self.watermarks(topic, partitions)) if pair[1]}
        found = {}

        def all_committed():
            found.update(self.committed(group, topic))
            return found == ends

        until(all_committed, timeout * PATIENCE,
              lambda: f"commit of {ends} by {group} (it has {found})", every=0.1)

    def members(self, group):
        return self.tool.call("describe_group", group=group)["members"]

    def groups(self):
        """Names of all that the broker knows."""
        return sorted(self.tool.call("groups")["groups"])

    def read(self, topic):
        """[(partition, offset, key, value)] of all committed records."""
        return [tuple(record[:4]) for record in self.tool.call("read", topic=topic)["records"]]

    def letters(self, topic):
        """All records as dicts: key, value, headers ({name: value}, of several the last)."""
        return [{"key": key, "value": value, "headers": dict(map(tuple, headers))} for
                _, _, key, value, headers in self.tool.call("read", topic=topic)["records"]]

    def close(self):
        if self._tool:
            self._tool.close()
            self._tool = None


class Kafka(Cluster):
    """A broker of our own: one node, KRaft, all listeners on 127.0.0.1. Stays on its ports and keeps
    its data when it is killed and started again."""

    def __init__(self, directory, jars, memory="384m", **properties):
        super().__init__({name: free_port() for name in (*LISTENERS, *PROXIES.values())}, directory)
        self._jars = jars
        self._memory = memory
        self._process = None
        self.log = self.directory / "kafka.log"
        self._config = self.directory / "server.properties"
        self._config.write_text(self._properties(properties))
        self._format()

    def _properties(self, extra):
        at = "127.0.0.1"
        names = [name for name in LISTENERS if name != "SIX" or has_ipv6()]
        listeners = ",".join(f"{name}://{'[::1]' if name == 'SIX' else at}:{self.ports[name]}"
                             for name in names)
        advertised = ",".join(
            f"{name}://{NAMES.get(name, at)}:{self.ports[PROXIES.get(name, name)]}"
            for name in names if name != "CONTROLLER")
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        users = " ".join(f'user_{user}="{PASSWORD}"' for user in ("alice", "bob"))
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        oauth = "org.apache.kafka.common.security.oauthbearer"
        text = f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{at}:{self.ports["CONTROLLER"]}
listeners={listeners}
advertised.listeners={advertised}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map={",".join(f"{n}:{LISTENERS[n]}" for n in names)}
log.dirs={self.directory / "data"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=2
log.segment.bytes=16777216
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=300
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:alice;User:CN=client
sasl.oauthbearer.jwks.endpoint.url={self.issuer.jwks.as_uri()}
sasl.oauthbearer.expected.audience={self.issuer.AUDIENCE}
sasl.oauthbearer.expected.issuer={self.issuer.ISSUER}
ssl.keystore.type=PEM
ssl.keystore.location={self.authority.path("server.pem")}
ssl.truststore.type=PEM
ssl.truststore.location={self.authority.ca}
listener.name.mtls.ssl.client.auth=required
"""
        for name in ("sasl", "sasltls"):
            prefix = f"listener.name.{name}"
            text += f"""
{prefix}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
{prefix}.plain.sasl.jaas.config={plain} {users};
{prefix}.scram-sha-256.sasl.jaas.config={scram}
{prefix}.scram-sha-512.sasl.jaas.config={scram}
{prefix}.oauthbearer.sasl.jaas.config={oauth}.OAuthBearerLoginModule required;
{prefix}.oauthbearer.sasl.server.callback.handler.class={oauth}.OAuthBearerValidatorCallbackHandler
"""
        return text + "".join(f"{k.replace('_', '.')}={v}\n" for k, v in extra.items())

    def _java(self, *arguments):
        return [java(), *JVM, f"-Xmx{self._memory}",
                f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.issuer.jwks.as_uri()}",
                f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={self.issuer.jwks}",
                "-cp", f"{self._jars}/*", *arguments]

    def _format(self):
        users = [f"{mechanism}=[name={user},password={PASSWORD}]"
                 for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512") for user in ("alice", "bob")]
        identity = "c2x1aWNlLXRlc3RzLTAwMA"
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", self._config,
                       *(word for user in users for word in ("--add-scram", user))),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout

    def launch(self):
        """Starts without waiting."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(self._java("kafka.Kafka", self._config), stdout=log,
                                             stderr=log, stdin=subprocess.DEVNULL,
                                             start_new_session=True, cwd=self.directory)

    def start(self):
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self, timeout=60):
        def answers():
            code = self._process.poll()
            assert code is None, f"Kafka ended with {code}:\n{tail(self.log)}"
            try:
                return self.tool.call("ping", timeout_ms=500)["brokers"]
            except ToolError:
                return False

        until(answers, timeout * PATIENCE, lambda: f"start of Kafka\n{tail(self.log)}", every=0.1)
        # Makes the topic of all groups' offsets, and waits until it works.
        self.tool.call("committed", group="warm-up", topic="warm-up")

    def kill(self):
        """SIGKILL: as a power cut for the process, but its files stay."""
        self._process.kill()
        self._process.wait()

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        super().close()
        if self._process:
            stop_process(self._process)

    # The shared broker belongs to the session's first process; others find it by environment.
    def publish(self):
        os.environ["SLUICE_TEST_KAFKA"] = json.dumps([self.ports, str(self.directory)])


def shared_cluster():
    """The session's broker as `Kafka.publish` announced it, or None."""
    text = os.environ.get("SLUICE_TEST_KAFKA")
    return Cluster(*json.loads(text)) if text else None
