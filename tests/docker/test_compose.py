"""compose.yaml, played without an engine: each service by the program that its image has, told what the
file tells it, in a network where the services' names lead to it."""

import contextlib
import json
import re
import subprocess
import urllib.parse
import urllib.request

import pika
import pytest
import yaml

from container import Container
from image import ROOT
from lib.jars import elasticmq_jars, kafka_jars
from lib.kafka import JVM, Tool, ToolError
from lib.machine import PATIENCE, java, stop_process, tail
from lib.rabbitmq import RabbitServer
from lib.waiting import until
from network import own_network

COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_names_what_there_is():
    build = SERVICES["sluice"]["build"]
    assert (ROOT / "docker" / build["context"] / build["dockerfile"]).exists()
    assert f"AS {build['target']}\n" in (ROOT / "docker/Dockerfile").read_text()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / "docker" / source).exists(), source
    for path in (ROOT / "docker/demo/mappings.d").glob("*.yaml"):
        mapping = yaml.safe_load(path.read_text())
        (source,) = mapping["source"].values()
        servers = source.get("brokers") or source.get("hosts") or source["url"].split("//")[1]
        assert servers.split(":")[0] in SERVICES, path
        assert re.match(r"http://(\w+):", mapping["target"]["http"]["url"])[1] in SERVICES


class Program:
    def __init__(self, name, command, directory, **options):
        self.log = directory / f"{name}.log"
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, cwd=directory, **options)

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        stop_process(self._process)


def kafka(directory):
    """As apache/kafka starts it: KAFKA_A_B of the environment is a.b of server.properties."""
    settings = {name.removeprefix("KAFKA_").lower().replace("_", "."): value
                for name, value in SERVICES["kafka"]["environment"].items()}
    settings["log.dirs"] = directory / "data"
    properties = directory / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    machine = [java(), *JVM, "-Xmx384m", "-cp", f"{kafka_jars()}/*"]
    subprocess.run([*machine, "kafka.tools.StorageTool", "format", "-t", "c2x1aWNlLXRlc3RzLTAwMA", "-c",
                    properties], check=True, stdout=subprocess.DEVNULL)
    return Program("kafka", [*machine, "kafka.Kafka", properties], directory)


def sqs(directory):
    return Program("sqs", [java(), "-Xmx256m", f"-Dconfig.file={ROOT / 'docker/elasticmq.conf'}", "-cp",
                           f"{elasticmq_jars()}/*", "org.elasticmq.server.Main"], directory)


def rabbitmq(directory):
    server = RabbitServer(directory, listeners__tcp__local="127.0.0.1:5672", loopback_users__guest="false")
    server.ports["AMQP"] = 5672
    return server


@pytest.fixture
def services(directory):
    """All but sluice, by their names."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_network(directory, SERVICES))
        started = {}
        for make in (kafka, sqs):
            home = directory / make.__name__
            home.mkdir()
            started[make.__name__] = make(home)
            stack.callback(started[make.__name__].stop)
        started["function"] = Program("function", [*SERVICES["function"]["command"][:2],
                                                   ROOT / "docker/function.py"], directory)
        stack.callback(started["function"].stop)
        started["rabbitmq"] = rabbitmq(directory / "rabbitmq")
        stack.callback(started["rabbitmq"].stop)
        started["rabbitmq"].start()
        yield started


def produce(value):
    tool = Tool("kafka:9092")
    try:
        tool.call("flush", before=json.dumps({"op": "produce", "topic": "orders", "value": value}) + "\n")
        return True
    except ToolError:
        return False
    finally:
        tool.close()


def publish(value):
    with pika.BlockingConnection(pika.ConnectionParameters("rabbitmq", 5672)) as connection:
        connection.channel().basic_publish("", "orders", value.encode())


def send(value):
    """The request that compose.yaml tells to make with curl."""
    url = re.search(r"curl -d Action=SendMessage .* (http://\S+)",
                    (ROOT / "docker/compose.yaml").read_text())[1]
    form = urllib.parse.urlencode({"Action": "SendMessage", "MessageBody": value}).encode()
    assert urllib.request.urlopen(url, form, timeout=20).status == 200


def test_brings_messages_of_all_three_to_the_function(image, state, services, directory):
    def status():
        return json.loads(container.run("sluice status --json").stdout)["mappings"]
    (image.stage.root / "etc/hosts").touch()  # an engine makes it
    container = Container(image, state, options=[
        "--network-namespace-path=/proc/self/ns/net", f"--bind-ro={directory / 'hosts'}:/etc/hosts"])
    try:
        # The topic is made by the first message, the queue of RabbitMQ by sluice.
        until(lambda: produce('{"id": 1}'), 60 * PATIENCE, lambda: tail(services["kafka"].log))
        until(lambda: {mapping["state"] for mapping in status()} == {"running"}, 60 * PATIENCE,
              lambda: f"three that run: {status()}")
        publish('{"id": 2}')
        send('{"id": 3}')
        for number in (1, 2, 3):
            until(lambda n=number: re.search(rf"^done .*'id': {n}\b", services["function"].text, re.M),
                  30 * PATIENCE, lambda: services["function"].text)
        publish('{"id": 4, "why": "fail"}')
        until(lambda: container.run("sluice dlq ls --json").stdout.strip(), 30 * PATIENCE, "a dead letter")
        shown = container.run("sluice dlq").stdout
        assert "rabbitmq-orders" in shown, shown
    finally:
        code, text = container.stop()
    assert code == 0, text
