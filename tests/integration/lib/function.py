"""The function that sluice invokes: an HTTP server whose behaviour the test decides, request by
request, and which remembers every invocation."""

import asyncio
import base64
import json
import random
import socket
import ssl
import struct
import threading
import time

from lib.machine import PATIENCE, free_port
from lib.waiting import Changes


class Answer:
    """What the server does with one request. `success`: whether its messages count as done, but for
    those it names as failed; by its status if not given.

    how: answer  sends status, headers and body after `delay` seconds
         hang    never answers
         reset   closes with a TCP reset, without an answer
         cut     sends half of the answer and closes
         drip    sends the headers, then a byte of the body every 100 ms
         garbage sends what is not HTTP
    """

    __slots__ = ("status", "body", "headers", "delay", "how", "success")

    def __init__(self, status=200, body=b"", headers=None, delay=0, how="answer", success=None):
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = headers or {}
        self.delay = delay
        self.how = how
        self.success = 200 <= status < 300 if success is None else success


OK = Answer()


class Record:
    """One message of an invocation. Bytes are bytes, or None where absent."""

    __slots__ = ("topic", "partition", "offset", "key", "value", "headers", "token", "attempt",
                 "timestamp", "id")

    def __init__(self, topic, partition, offset, key, value, headers, token, attempt, timestamp):
        self.topic, self.partition, self.offset = topic, partition, offset
        self.key, self.value, self.headers = key, value, headers
        self.token, self.attempt, self.timestamp = token, attempt, timestamp
        self.id = f"{topic}/{partition}/{offset}"
        if value is not None and value[:1] == b"{":
            try:
                self.id = json.loads(value).get("id", self.id)
            except ValueError:
                pass

    @property
    def place(self):
        return (self.topic, self.partition, self.offset)

    def __repr__(self):
        return f"<{self.id} at {self.topic}/{self.partition}/{self.offset}>"


def _decode(text):
    return None if text is None else base64.b64decode(text)


def _lambda_records(event):
    for records in event["records"].values():
        for record in records:
            headers = [(name, bytes(b & 255 for b in value) if value is not None else None)
                       for header in record.get("headers") or () for name, value in header.items()]
            yield Record(record["topic"], record["partition"], record["offset"],
                         _decode(record.get("key")), _decode(record.get("value")), headers, None,
                         None, record.get("timestamp"))


def _json_bytes(value):
    """The bytes of a value of format `json`, as far as it tells: embedded JSON is written anew."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    return json.dumps(value).encode()


def _json_records(event):
    for record in event["records"]:
        headers = record.get("headers") or []
        yield Record(record.get("source"), record.get("partition"), record.get("position"),
                     _json_bytes(record.get("key")), _json_bytes(record.get("value")), headers,
                     record.get("token"), record.get("attempt"), record.get("timestamp"))


def _records(headers, body):
    if headers.get("x-test-format") != "raw" and body[:1] == b"{":
        try:
            event = json.loads(body)
            if isinstance(event.get("records"), dict):
                return list(_lambda_records(event))
            if isinstance(event.get("records"), list):
                return list(_json_records(event))
        except (ValueError, KeyError, TypeError):
            pass
    return [Record(None, None, None, None, body, [], headers.get("idempotency-key"), None, None)]


class Invocation:
    __slots__ = ("number", "begin", "end", "headers", "body", "records", "answer")

    def __init__(self, number, headers, body):
        self.number = number
        self.begin = time.monotonic()
        self.end = None  # until it was answered
        self.headers = headers
        self.body = body
        self.records = _records(headers, body)
        self.answer = OK

    @property
    def ids(self):
        return [record.id for record in self.records]

    @property
    def token(self):
        return self.headers.get("idempotency-key")

    def event(self):
        return json.loads(self.body)


class Function:
    """`behave(invocation) -> Answer` decides; assign another at any time. `changes` guards the rest:

    invocations  all requests, in order of arrival
    done         id -> how often an invocation with it was answered with success
    seen         id -> how often it was in an invocation
    """

    def __init__(self, certificate=None):
        self.port = free_port()
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.behave = lambda invocation: OK
        self.changes = Changes()
        self.invocations = []
        self.done = {}
        self.seen = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        self._transports = set()
        self._server = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.listen()

    @property
    def url(self):
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/function"

    # -- control, from the test's thread --

    def _in_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def listen(self):
        async def start():
            self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1",
                                                          self.port, backlog=1024, ssl=self._tls)
        self._in_loop(start())

    def refuse(self):
        """Closes the port and all connections: from now on, connection refused."""
        async def stop():
            if self._server:
                self._server.close()
                self._server = None
            for transport in list(self._transports):
                transport.abort()
        self._in_loop(stop())

    def close(self):
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def wait(self, predicate, timeout, what="the function's event"):
        """`predicate` is called with this function, its lock held."""
        return self.changes.wait(
            lambda: predicate(self), timeout * PATIENCE,
            lambda: f"{what() if callable(what) else what}; {self.summary()}")

    def wait_done(self, ids, timeout):
        """Until every id was answered with success."""
        wanted = set(ids)
        left = set(wanted)

        def all_done(function):
            left.difference_update([i for i in left if i in function.done])
            return not left
        self.wait(all_done, timeout, lambda: f"success of {len(wanted)} messages, "
                  f"{len(left)} left, e.g. {sorted(left, key=str)[:5]}")

    def wait_invocations(self, count, timeout):
        self.wait(lambda f: len(f.invocations) >= count, timeout, f"{count} invocations")

    def summary(self):
        last = self.invocations[-1] if self.invocations else None
        return (f"{len(self.invocations)} invocations, {len(self.done)} ids done, "
                f"{len(self.seen)} seen, last {last and (last.ids[:3], last.answer.status)}")

    def forget(self):
        with self.changes:
            self.invocations.clear()
            self.done.clear()
            self.seen.clear()
            self.most_in_flight = 0

    # -- from the loop's thread --

    def began(self, headers, body):
        invocation = Invocation(len(self.invocations), headers, body)
        with self.changes:
            self.invocations.append(invocation)
            for record in invocation.records:
                self.seen[record.id] = self.seen.get(record.id, 0) + 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            invocation.answer = self.behave(invocation)
        except Exception as error:  # a test's mistake must not look like sluice's
            invocation.answer = Answer(599, f"behave: {error!r}")
            self.behave_error = error
        return invocation

    def ended(self, invocation, answered):
        with self.changes:
            invocation.end = time.monotonic()
            self.in_flight -= 1
            if answered and invocation.answer.success:
                failed = failed_places(invocation.answer.body)
                for record in invocation.records:
                    if (f"{record.topic}-{record.partition}", record.offset) not in failed and \
                            record.token not in failed:
                        self.done[record.id] = self.done.get(record.id, 0) + 1


def failed_places(body):
    """What a partial response names: (topic-partition, offset) pairs or tokens."""
    if not body:
        return ()
    try:
        items = json.loads(body).get("batchItemFailures") or ()
        names = [item["itemIdentifier"] for item in items]
        return {(n["partition"], n["offset"]) if isinstance(n, dict) else n for n in names}
    except (ValueError, AttributeError, KeyError, TypeError):
        return ()


class _Connection(asyncio.Protocol):
    def __init__(self, function):
        self.function = function
        self.buffer = b""
        self.transport = None
        self.invocation = None

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.function._transports.add(transport)
        self.function.connections += 1

    def connection_lost(self, _):
        self.function._transports.discard(self.transport)
        self.finish(False)

    def data_received(self, data):
        self.buffer += data
        if self.invocation:
            return  # HTTP/1.1 without pipelining: sluice has no business here yet
        self.parse()

    def parse(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {":method": lines[0].split(" ")[0], ":path": lines[0].split(" ")[1]}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", 0))
        if headers.get("expect") and len(self.buffer) < end + 4 + size:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            headers.pop("expect")
        if len(self.buffer) < end + 4 + size:
            return
        body = self.buffer[end + 4:end + 4 + size]
        self.buffer = self.buffer[end + 4 + size:]
        self.invocation = self.function.began(headers, body)
        if self.invocation.answer.delay:
            self.function._loop.call_later(self.invocation.answer.delay, self.reply)
        else:
            self.reply()

    def reply(self):
        if not self.invocation or self.transport.is_closing():
            return
        answer = self.invocation.answer
        getattr(self, answer.how)(answer)

    def finish(self, answered):
        invocation, self.invocation = self.invocation, None
        if invocation:
            self.function.ended(invocation, answered)
            if answered and self.buffer:
                self.parse()

    @staticmethod
    def head(answer):
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        return (f"HTTP/1.1 {answer.status} Test\r\nContent-Length: {len(answer.body)}\r\n{extra}"
                "\r\n").encode()

    def answer(self, answer):
        self.transport.write(self.head(answer) + answer.body)
        self.finish(True)

    def hang(self, answer):
        pass

    def reset(self, answer):
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def cut(self, answer):
        whole = self.head(answer) + answer.body
        self.transport.write(whole[:len(whole) - max(1, len(answer.body) // 2)])
        self.transport.close()

    def garbage(self, answer):
        self.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.transport.close()

    def drip(self, answer, at=0):
        if at == 0:
            self.transport.write(self.head(answer))
        if self.transport.is_closing():
            return
        self.transport.write(answer.body[at:at + 1])
        if at + 1 < len(answer.body):
            self.function._loop.call_later(0.1, self.drip, answer, at + 1)
        else:
            self.finish(True)


# ---- behaviours ----

def always(status, **options):
    answer = Answer(status, **options)
    return lambda invocation: answer


def poison(ids, status=500):
    """Fails whole invocations that hold one of the ids."""
    ids, bad = set(ids), Answer(status, b'{"errorMessage": "cannot digest this"}')
    return lambda invocation: bad if ids.intersection(invocation.ids) else OK


def at_random(rate, seed, status=500):
    """Fails that share of the invocations, whatever they hold."""
    dice, bad = random.Random(seed), Answer(status, b"bad luck")
    return lambda invocation: bad if dice.random() < rate else OK


def name_failed(ids):
    """A partial response that names the ids, in the shape of the invocation's format."""
    ids = set(ids)

    def behave(invocation):
        failures = [{"itemIdentifier": record.token if record.token is not None else
                     {"partition": f"{record.topic}-{record.partition}", "offset": record.offset}}
                    for record in invocation.records if record.id in ids]
        return Answer(200, json.dumps({"batchItemFailures": failures}))
    return behave
