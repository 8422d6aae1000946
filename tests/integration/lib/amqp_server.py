"""A broker that says what the test tells it, in AMQP 0-9-1 (its specification's frames and methods)."""

import socket
import struct
import threading

from lib.waiting import Changes

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
MOST = 131072  # of a frame

START, TUNE, OPEN_OK, CLOSE = (10, 10), (10, 30), (10, 41), (10, 50)
CHANNEL_OPEN, CHANNEL_CLOSE, CHANNEL_CLOSE_OK = (20, 10), (20, 40), (20, 41)
DECLARE, QOS, CONSUME, CANCEL, DELIVER, ACK, REJECT, NACK = (
    (50, 10), (60, 10), (60, 20), (60, 30), (60, 60), (60, 80), (60, 90), (60, 120))


def frame(kind, channel, payload, end=b"\xce"):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def method(channel, name, arguments=b""):
    return frame(METHOD, channel, struct.pack(">HH", *name) + arguments)


def short(text):
    text = text.encode() if isinstance(text, str) else text
    return bytes([len(text)]) + text


def long(data):
    return struct.pack(">I", len(data)) + data


def deliver(tag, channel=1, consumer="ctag", key="q"):
    return method(channel, DELIVER,
                  short(consumer) + struct.pack(">QB", tag, 0) + short("") + short(key))


def header(size, table=None, channel=1, flags=None, klass=60):
    """Of a message; `table` are the bytes of its headers, without their length."""
    properties = b"" if table is None else long(table)
    return frame(HEADER, channel, struct.pack(
        ">HHQH", klass, 0, size, flags if flags is not None else 0x2000 * (table is not None))
        + properties)


def body(data, channel=1):
    return frame(BODY, channel, data)


def message(tag, data=b"{}", **options):
    return (deliver(tag, options.get("channel", 1), options.pop("consumer", "ctag"))
            + header(len(data), **options) + (body(data, options.get("channel", 1)) if data else b""))


class AmqpServer:
    """Logs everyone in, answers what opens a consumer, then sends `words` (bytes, or a function of the
    connection's number). `start` are the server's properties, as a table's bytes.
    `settled` gathers the names of what settles; `connections` counts; `asked_on` is the channel of the newest
    consumer."""

    def __init__(self, words=b"", start=b"", then="stay", heartbeat=0, receive_buffer=None):
        self.words, self.start, self.then, self.heartbeat = words, start, then, heartbeat
        self._ended = threading.Event()
        self.changes = Changes()
        self.settled = []
        self.connections = 0
        self.asked_on = None
        self.open = []
        self.listener = socket.socket()
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with self.changes:
                self.connections += 1
                self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        stream = connection.makefile("rb")
        try:
            if len(stream.read(8)) == 8:
                connection.sendall(method(0, START, bytes([0, 9]) + long(self.start)
                                          + long(b"PLAIN") + long(b"en_US")))
                while self._answer(connection, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _answer(self, connection, stream):
        head = stream.read(7)
        if len(head) < 7:
            return False
        kind, channel, size = struct.unpack(">BHI", head)
        payload = stream.read(size + 1)
        if kind != METHOD:
            return True
        name, rest = struct.unpack(">HH", payload[:4]), payload[4:-1]
        if name in (ACK, REJECT, NACK):
            with self.changes:
                self.settled.append((name, rest))
        elif name == CONSUME:
            self._consumed(connection, channel, rest)
        else:
            connection.sendall(self._replies(channel, name, rest))
        return True

    def _replies(self, channel, name, rest):
        if name == (10, 11):
            return method(0, TUNE, struct.pack(">HIH", 2047, MOST, self.heartbeat))
        if name == (10, 40):
            return method(0, OPEN_OK, short(""))
        if name == (10, 50):
            return method(0, (10, 51))
        if name == CHANNEL_OPEN:
            return method(channel, (20, 11), long(b""))
        if name == CHANNEL_CLOSE:
            return method(channel, CHANNEL_CLOSE_OK)
        if name == QOS:
            return method(channel, (60, 11))
        if name == CANCEL:
            return method(channel, (60, 31), rest[:-1])
        if name == DECLARE:
            queue = rest[3:3 + rest[2]]
            return method(channel, (50, 11), short(queue) + struct.pack(">II", 1, 0))
        return b""

    def _consumed(self, connection, channel, rest):
        at = 3 + rest[2]
        tag = rest[at + 1:at + 1 + rest[at]]
        connection.sendall(method(channel, (60, 21), short(tag)))
        self.asked_on = channel
        words = self.words(tag) if callable(self.words) else self.words
        connection.sendall(words)
        if self.then == "close":
            connection.shutdown(socket.SHUT_RDWR)
        while self.then == "deaf" and not self._ended.wait(0.3):  # alive, but it reads no more
            connection.sendall(frame(HEARTBEAT, 0, b""))

    def close(self):
        self._ended.set()
        self.listener.close()
        for one in self.open:
            one.close()
