"""What the test servers of HTTP queues have in common: requests, leases, and misbehaviour.

They are strict: what the provider's documentation does not allow is answered as the provider would,
and noted in `complaints`, which a test looks at in the end (`check`)."""

import itertools
import json
import socket
import ssl
import threading
import time
import urllib.parse
import uuid
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.machine import PATIENCE, free_port
from lib.waiting import Changes, Timeout


class Request:
    """One request. `name` is what the server calls it (pull, ack, ...), once it was understood."""

    def __init__(self, method, target, headers, body):
        self.method, self.body = method, body
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.at = time.monotonic()
        self.name = None
        self.status = None

    def __repr__(self):
        return f"{self.method} {self.path} {self.status}"


class Answer:
    """how: answer  sends it
            cut     announces all of the body, sends half of it and closes
            reset   closes without a word"""

    def __init__(self, status=200, body=b"", headers=None, how="answer"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.status, self.how = status, how
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = {"Content-Type": "application/json", **(headers or {})}


class Wrong(Exception):
    """The request breaks the API's rules; `answer` is what the provider says to it. Without a
    complaint it is only refused."""

    def __init__(self, complaint, answer):
        super().__init__(complaint)
        self.answer = answer


class Message:
    def __init__(self, body, key=None, attributes=None, **more):
        self.id = uuid.uuid4().hex
        self.body, self.key = body, key
        self.attributes = attributes or {}
        self.more = more
        self.born_ms = int(time.time() * 1000)
        self.attempts = 0     # deliveries so far
        self.visible_at = 0   # monotonic
        self.receipt = None   # of the newest delivery, while leased
        self.settled = False


class Queue:
    """Messages under leases. Guarded by the server's `changes`."""

    def __init__(self, strict_keys=False):
        self.messages = []
        self.receipts = {}        # all ever given out -> message
        self.strict_keys = strict_keys
        self.delivered = []       # (message, monotonic)
        self.released = []        # (message, delay in seconds, monotonic)
        self.settled = []         # messages, as they were acknowledged
        self.extended = 0

    def add(self, message, delay=0):
        message.visible_at = time.monotonic() + delay if delay else 0
        self.messages.append(message)

    def _free(self, message, now):
        if message.settled:
            return False
        if message.receipt and message.visible_at <= now:
            message.receipt = None  # its lease ran out
            if self.strict_keys and message.key:
                self._again_from(message)
        return message.receipt is None and message.visible_at <= now

    def _again_from(self, message):
        """With an ordering key all that follow come again too, also those acknowledged."""
        for later in self.messages[self.messages.index(message) + 1:]:
            if later.key == message.key and later.attempts:
                later.receipt, later.settled = None, False
                later.visible_at = message.visible_at

    def _ready(self):
        """Of one ordering key only one batch is out at a time, and nothing passes what waits."""
        now = time.monotonic()
        for message in self.messages:
            self._free(message, now)
        held = {message.key for message in self.messages if message.receipt and not message.settled}
        for message in self.messages:
            if self.strict_keys and message.key:
                if message.key in held:
                    continue
                if not message.settled and not self._free(message, now):
                    held.add(message.key)
            if self._free(message, now):
                yield message

    def take(self, count, lease):
        taken = list(itertools.islice(self._ready(), count))
        for message in taken:
            message.attempts += 1
            message.receipt = f"{message.id}.{message.attempts}.{uuid.uuid4().hex[:8]}"
            message.visible_at = time.monotonic() + lease
            self.receipts[message.receipt] = message
            self.delivered.append((message, time.monotonic()))
        return taken

    def settle(self, receipt):
        """Whether the receipt was still the message's own."""
        message = self.receipts[receipt]
        current = message.receipt == receipt and message.visible_at > time.monotonic()
        if not message.settled:
            message.settled, message.receipt = True, None
            self.settled.append(message)
        return current

    def release(self, receipt, delay):
        message = self.receipts[receipt]
        if message.receipt != receipt or message.settled:
            return False
        message.receipt = None
        message.visible_at = time.monotonic() + delay
        self.released.append((message, delay, time.monotonic()))
        if self.strict_keys and message.key:
            self._again_from(message)
        return True

    def extend(self, receipt, lease):
        message = self.receipts[receipt]
        if message.receipt != receipt or message.settled:
            return False
        message.visible_at = time.monotonic() + lease
        self.extended += 1
        return True

    def leased(self):
        now = time.monotonic()
        return [message for message in self.messages
                if not message.settled and message.receipt and message.visible_at > now]

    def left(self):
        return [message for message in self.messages if not message.settled]


class HttpQueueServer:
    """`behave(request, proceed) -> Answer`: `proceed()` does what the API does and returns its answer;
    a test may answer something else, before or instead or after. A subclass has `api(request)`."""

    def __init__(self, certificate=None):
        self.changes = Changes()
        self.port = free_port()
        self.behave = lambda request, proceed: proceed()
        self.requests, self.complaints = [], []
        self.connections = 0
        self.closing = False
        self.ahead = 0  # seconds that its clock is ahead of the machine's
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._open = set()
        self._server = None
        self.listen()

    @property
    def origin(self):
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    # -- life --

    def listen(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                with server.changes:
                    server.connections += 1
                    server._open.add(self.connection)

            def finish(self):
                try:
                    super().finish()
                except OSError:
                    pass  # the test closed it
                with server.changes:
                    server._open.discard(self.connection)

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass  # the test closed it, or sluice was killed

            def answer(self):
                server._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.closing = False
        self._server = Threads(("127.0.0.1", self.port), Handler)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self):
        """From now on connection refused, and all connections are cut."""
        with self.changes:
            self.closing = True
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self.changes:
            connections = list(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.refuse()

    # -- requests --

    def _serve(self, handler):
        size = int(handler.headers.get("Content-Length") or 0)
        request = Request(handler.command, handler.path, dict(handler.headers),
                          handler.rfile.read(size))
        with self.changes:
            self.requests.append(request)
        answer = self.behave(request, lambda: self._proceed(request))
        request.status = answer.status
        with self.changes:
            pass  # tells those who wait
        if self.closing:
            answer.how = "reset"
        self._transmit(handler, answer)

    def _proceed(self, request):
        try:
            return self.api(request)
        except Wrong as wrong:
            if str(wrong):
                with self.changes:
                    self.complaints.append(f"{request.method} {request.path}: {wrong}")
            return wrong.answer
        except Exception as error:  # a mistake of this file's must not look like sluice's
            with self.changes:
                self.complaints.append(f"{request.method} {request.path}: {error!r}")
            return Answer(599, b"a mistake of the test server's")

    def _transmit(self, handler, answer):
        if answer.how == "reset":
            handler.close_connection = True
            return
        if self.ahead:
            handler.date_time_string = lambda: formatdate(time.time() + self.ahead, usegmt=True)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.status != 204:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        body = answer.body
        if answer.how == "cut":
            body = body[:len(body) // 2]
            handler.close_connection = True
        if answer.status != 204:
            handler.wfile.write(body)
        handler.wfile.flush()

    # -- for tests --

    def count(self, name):
        return sum(request.name == name for request in self.requests)

    def wait(self, predicate, timeout, what):
        return self.changes.wait(
            lambda: predicate(self), timeout * PATIENCE,
            lambda: f"{what() if callable(what) else what} (complaints {self.complaints[-3:]}, "
                    f"requests {self.requests[-5:]})")

    def wait_settled(self, queue, timeout=20):
        """Until nothing is left in it."""
        return self.wait(lambda _: not queue.left(), timeout,
                         lambda: f"settlement of all ({len(queue.left())} left)")

    def check(self):
        assert self.complaints == []

    def long_poll(self, take, seconds):
        """`take()` once it gives something, or what it gives at last; the lock is held."""
        try:
            return self.changes.wait(lambda: take() or (self.closing and ["closing"]), seconds, "")
        except Timeout:
            return []


# ---- misbehaviours: make them the server's `behave` ----

def only(names, misbehave):
    """Misbehaves for some requests: those whose path ends with one of the names."""
    names = (names,) if isinstance(names, str) else tuple(names)
    return lambda request, proceed: (
        misbehave if (request.headers.get("x-amz-target") or request.path).endswith(names) else _well)(
            request, proceed)


def _well(request, proceed):
    return proceed()


def instead(status=200, body=b"", **headers):
    """Answers this and does nothing. Underscores in header names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, proceed: Answer(status, body, named)


def html(status=200):
    return instead(status, b"<html><body><h1>Sign in to the guest network</h1></body></html>",
                   Content_Type="text/html")


def throttled(seconds, status=429):
    return instead(status, b'{"errors": [{"message": "slow down"}]}', Retry_After=str(seconds))


def redirect(url):
    return instead(302, b"", Location=url)


def cut(request, proceed):
    """Does it, and sends half of the answer."""
    answer = proceed()
    answer.how = "cut"
    return answer


def truncated(request, proceed):
    """Does it, and sends half of the answer as if it were the whole."""
    answer = proceed()
    answer.body = answer.body[:len(answer.body) // 2]
    return answer


def lost(request, proceed):
    """Does it, and the connection breaks before the answer."""
    answer = proceed()
    answer.how = "reset"
    return answer


def wrong_types(request, proceed):
    """Does it, and answers with objects for texts, texts for numbers and empty lists."""
    answer = proceed()
    if answer.body:
        answer.body = json.dumps(_twist(json.loads(answer.body))).encode()
    return answer


def _twist(value, depth=0):
    if isinstance(value, dict):
        return {key: _twist(inner, depth + 1) for key, inner in value.items()} if depth < 3 else []
    if isinstance(value, list):
        return [_twist(inner, depth + 1) for inner in value] if value and depth < 3 else "none"
    return {str: {"not": "a text"}, int: "7", float: "7", bool: "yes"}.get(type(value), {})
