"""Every kind of source behind one face, for the cases that all connectors have to pass
(test_every_connector.py). Each is one topic or queue of its own."""

import json
import urllib.parse
import uuid

from lib.http_kinds import KINDS, http_mapping
from lib.machine import PATIENCE
from lib.proxy import Proxy
from lib.positions import finished
from lib.rabbitmq import QUORUM, STREAM
from lib.sluice import merge, quick_rules
from lib.waiting import until


class Source:
    """abilities: what the kind of source can do, see ABILITIES. `lane_key`: what puts messages into one
    lane. Messages are dicts: value (bytes or str), key, headers (name -> text), message_id."""

    abilities = frozenset()
    lane_key = None
    largest = 990_000  # bytes of a payload
    takes_empty = True   # payloads, and values of headers
    takes_nul = True     # payloads
    batch_most = 20      # messages of a lane at a time; more is not tried
    locks_lane = False   # it gives nothing of a lane of which something is not settled
    short_hold = {}      # changes of a mapping, so that what nobody settles comes again soon
    aws_event = None     # what is in its event of AWS Lambda
    state = None         # the state directory of the only sluice that reads it, for what is remembered there

    def mapping(self, function, changes=None, **sections):
        """A working mapping with quick retries."""
        return merge(merge(self._mapping(function), changes or {}), sections)

    def produce(self, messages):
        raise NotImplementedError

    def left(self):
        """How many messages are not settled."""
        raise NotImplementedError

    def wait_settled(self, timeout=20):
        found = []

        def none():
            found[:] = [self.left()]
            return not found[0]
        until(none, timeout * PATIENCE, lambda: f"settlement of all ({found} left)", every=0.1)

    def through_proxy(self):
        """A proxy before the server; mappings made from now on go through it."""
        raise NotImplementedError

    def close(self):
        pass


# What not every kind of source has, and why the others have not.
ABILITIES = {
    "order": "the queue keeps no order",
    "shared": "every reader gets all of it",
    "keys": "messages have no key",
    "headers": "messages have no headers",
    "binary": "payloads are texts",
    "bytes": "payloads are JSON",
    "counts": "the source counts no deliveries",
    "extends": "a lease cannot be made longer: choose one that is long enough",
    "lambda": "AWS has no event for it",
}


class KafkaSource(Source):
    abilities = frozenset({"shared", "order", "keys", "headers", "binary", "bytes", "extends", "lambda"})
    short_hold = {"source": {"kafka": {"session_timeout": "6s"}}}
    aws_event = "SelfManagedKafka"

    def __init__(self, cluster):
        self.cluster = cluster
        self.topic = cluster.topic(1)
        self._address = cluster.address()

    def _mapping(self, function):
        return {**quick_rules(function), "order": "lane", "idempotency": {"token": "position"},
                "source": {"kafka": {"brokers": self._address, "topic": self.topic,
                                     "group": f"g-{self.topic}", "start": "earliest",
                                     "session_timeout": "6s", "commit_interval": "200ms"}}}

    def produce(self, messages):
        self.cluster.produce(self.topic, [
            {"value": message["value"], "key": message.get("key"),
             "headers": list(message.get("headers", {}).items())} for message in messages])

    def left(self):
        end = self.cluster.watermarks(self.topic, 1)[0][1]
        return end - max(0, self.cluster.committed(f"g-{self.topic}", self.topic).get(0, 0))

    def through_proxy(self):
        made = []

        def bound():  # its port is named in the broker's configuration: one test after the other
            try:
                made.append(Proxy(self.cluster.ports["PROXIED"], self.cluster.ports["PROXY"]))
            except OSError:
                return False
            return True
        until(bound, 120 * PATIENCE, "the turn of this test at the proxy", every=0.2)
        self._address = f"127.0.0.1:{made[0].port}"
        return made[0]


class RabbitSource(Source):
    abilities = frozenset({"shared", "order", "headers", "binary", "bytes", "extends", "lambda"})
    short_hold = {"source": {"rabbitmq": {"heartbeat": "1s"}}}
    aws_event = "aws:rmq"

    def __init__(self, server, arguments=None):
        self.server = server
        self.queue = server.queue(**(arguments or {}))
        self._address = server.address()

    def _mapping(self, function):
        return {**quick_rules(function), "order": "lane",
                "idempotency": {"token": "message_id", "on_missing": "position"},
                "source": {"rabbitmq": {"hosts": self._address, "queue": self.queue,
                                        "connect_timeout": "3s", "heartbeat": "5s"}}}

    def produce(self, messages):
        self.server.produce(self.queue, [
            {name: message[name] for name in ("value", "headers", "message_id") if name in message}
            for message in messages])

    def left(self):
        return self.server.unsettled(self.queue)

    def through_proxy(self):
        proxy = Proxy(self.server.ports["AMQP"])
        self._address = f"127.0.0.1:{proxy.port}"
        return proxy


class QuorumSource(RabbitSource):
    abilities = RabbitSource.abilities | {"counts"}

    def __init__(self, server):
        super().__init__(server, QUORUM)


class StreamSource(RabbitSource):
    """It forgets nothing and remembers no reader: what is settled is what sluice has recorded."""
    abilities = RabbitSource.abilities - {"shared"}

    def __init__(self, server):
        super().__init__(server, STREAM)

    def _mapping(self, function):
        mapping = merge(super()._mapping(function), {"source": {"rabbitmq": {"stream_offset": "first"}}})
        return {**mapping, "idempotency": {"token": "position"}}

    def left(self):
        return self.server.stream_end(self.queue) - finished(self.state)


class HttpSource(Source):
    name = None
    short_hold = {"source": {"http": {"lease": "2s"}}}

    def __init__(self):
        self.kind = KINDS[self.name]()

    def _mapping(self, function):
        return http_mapping(self.kind, function)

    def _produce(self, message):
        self.kind.produce([message["value"]])

    def produce(self, messages):
        for message in messages:
            self._produce(message)

    def left(self):
        with self.kind.server.changes:
            return len(self.kind.queue.left())

    def through_proxy(self):
        server = self.kind.server
        proxy = Proxy(server.port)
        # The servers care for paths, not for the name they are called by.
        self.kind.source = json.loads(json.dumps(self.kind.source).replace(
            urllib.parse.urlsplit(server.origin).netloc, f"127.0.0.1:{proxy.port}"))
        return proxy

    def close(self):
        self.kind.server.close()
        self.kind.server.check()


class SqsSource(Source):
    """A queue of ElasticMQ's."""
    abilities = frozenset({"shared", "headers", "bytes", "counts", "extends", "lambda"})
    short_hold = {"source": {"http": {"lease": "2s"}}}
    aws_event = "aws:sqs"
    largest = 250_000
    takes_empty = takes_nul = False
    fifo = False

    def __init__(self, server):
        self.server = server
        self.url = server.queue(fifo=self.fifo)
        self._source = server.source(self.url)

    def _mapping(self, function):
        return {**quick_rules(function), "idempotency": {"token": "message_id"}, "source": {"http": merge(
            {"lease": "30s", "timeout": "5s", "sqs": {"wait": "1s"},
             "poll": {"least": "50ms", "most": "500ms"}}, self._source)}}

    def produce(self, messages):
        for message in messages:
            self.server.send(self.url, message["value"], MessageAttributes={
                name: {"DataType": "String", "StringValue": text}
                for name, text in message.get("headers", {}).items()}, **self._group(message))

    def _group(self, message):
        return {}

    def left(self):
        return sum(self.server.left(self.url))

    def through_proxy(self):
        proxy = Proxy(self.server.port)
        self._source = merge(self._source, {"url": f"http://127.0.0.1:{proxy.port}"})
        return proxy


class SqsFifoSource(SqsSource):
    abilities = SqsSource.abilities | {"order", "keys"}
    lane_key = "one"
    batch_most = 10
    locks_lane = True
    fifo = True

    def _group(self, message):
        return {"MessageGroupId": message.get("key") or "one", "MessageDeduplicationId": uuid.uuid4().hex}


class CloudflareSource(HttpSource):
    abilities = frozenset({"shared", "headers", "binary", "bytes", "counts"})
    name = "cloudflare"
    largest = 100_000

    def _produce(self, message):
        value = message["value"]
        self.kind.server.produce(self.kind.queue, [value],
                                 "text" if isinstance(value, str) else "bytes",
                                 **message.get("headers", {}))


class PubSubSource(HttpSource):
    abilities = frozenset({"shared", "headers", "binary", "bytes", "counts", "extends"})
    name = "pubsub"
    takes_empty = False

    def __init__(self):
        super().__init__()
        self.kind.queue = self.kind.server.subscription(ordered=self.lane_key is not None, deadline=2)

    def _produce(self, message):
        self.kind.server.produce(self.kind.queue, [message["value"]], message.get("key"),
                                 **message.get("headers", {}))


class OrderedPubSubSource(PubSubSource):
    abilities = PubSubSource.abilities | {"order", "keys"}
    lane_key = "one"

    def _mapping(self, function):
        return merge(super()._mapping(function), {"order": "lane"})


class IronMqSource(HttpSource):
    abilities = frozenset({"shared", "bytes", "counts", "extends"})
    name = "ironmq"


class PgmqSource(HttpSource):
    abilities = frozenset({"shared", "counts", "extends"})
    name = "pgmq"


# name: (class, the fixture of its server)
SOURCES = {
    "kafka": (KafkaSource, "cluster"),
    "rabbitmq-classic": (RabbitSource, "rabbit"),
    "rabbitmq-quorum": (QuorumSource, "rabbit"),
    "rabbitmq-stream": (StreamSource, "rabbit"),
    "sqs": (SqsSource, "elasticmq"),
    "sqs-fifo": (SqsFifoSource, "elasticmq"),
    "cloudflare": (CloudflareSource, None),
    "pubsub": (PubSubSource, None),
    "pubsub-ordered": (OrderedPubSubSource, None),
    "generic-ironmq": (IronMqSource, None),
    "generic-pgmq": (PgmqSource, None),
}


def abilities(name):
    return SOURCES[name][0].abilities
