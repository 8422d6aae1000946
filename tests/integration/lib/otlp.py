"""A receiver of OpenTelemetry traces by OTLP/HTTP in JSON. It is strict: what the protocol's document
(opentelemetry-proto, JSON protobuf encoding) does not allow is answered 400 and noted in `complaints`."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.machine import PATIENCE, free_port
from lib.waiting import Changes

KINDS = range(1, 6)


class Wrong(Exception):
    pass


def _only(value, required, optional=()):
    if not isinstance(value, dict):
        raise Wrong(f"no object: {value!r}")
    missing, more = set(required) - value.keys(), value.keys() - set(required) - set(optional)
    if missing or more:
        raise Wrong(f"missing {missing}, unknown {more} in {value}")
    return value


def _hex(text, digits):
    if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", text) or not text.strip("0"):
        raise Wrong(f"no id of {digits} digits: {text!r}")


def _number(text):
    """64 bits are strings in JSON."""
    if not isinstance(text, str) or not re.fullmatch("[0-9]+", text) or int(text) >= 2 ** 63:
        raise Wrong(f"no number as a string: {text!r}")
    return int(text)


def _attributes(attributes):
    found = {}
    for attribute in attributes:
        _only(attribute, ("key", "value"))
        [(kind, value)] = _only(attribute["value"], (), ("stringValue", "intValue")).items()
        if kind == "intValue":
            value = _number(value)
        elif not isinstance(value, str) or not value:
            raise Wrong(f"no text: {attribute}")
        if attribute["key"] in found:
            raise Wrong(f"twice: {attribute['key']}")
        found[attribute["key"]] = value
    return found


class Span:
    def __init__(self, json_span, resource):
        span = _only(json_span, ("traceId", "spanId", "flags", "name", "kind", "startTimeUnixNano",
                                 "endTimeUnixNano", "attributes", "links"),
                     ("parentSpanId", "status", "droppedLinksCount"))
        _hex(span["traceId"], 32)
        _hex(span["spanId"], 16)
        if "parentSpanId" in span:
            _hex(span["parentSpanId"], 16)
        self.trace, self.id, self.parent = span["traceId"], span["spanId"], span.get("parentSpanId")
        self.name, self.kind, self.flags = span["name"], span["kind"], span["flags"]
        if not self.name or self.kind not in KINDS or not 0 <= self.flags < 256:
            raise Wrong(f"name, kind or flags: {span}")
        self.begin, self.end = (_number(span[f"{which}TimeUnixNano"]) for which in ("start", "end"))
        if self.end < self.begin:
            raise Wrong("it ends before it begins")
        self.attributes = _attributes(span["attributes"])
        self.links = []
        for link in span["links"]:
            _only(link, ("traceId", "spanId", "flags"))
            _hex(link["traceId"], 32)
            _hex(link["spanId"], 16)
            self.links.append((link["traceId"], link["spanId"]))
        self.links_dropped = span.get("droppedLinksCount", 0)
        self.status = _only(span.get("status", {}), (), ("code", "message"))
        self.resource = resource


class Receiver:
    """`behave(spans) -> (status, body, headers)` decides on each request; None: it takes them."""

    def __init__(self):
        self.changes = Changes()
        self.spans, self.requests, self.complaints = [], [], []
        self.behave = lambda spans: None
        self.port = free_port()
        self._server = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer, headers = receiver._answer(self.path, self.headers, body)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.stop()

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    def _answer(self, path, headers, body):
        with self.changes:
            self.requests.append(dict(headers))
            try:
                spans = self._read(path, headers, body)
            except (Wrong, ValueError, KeyError, TypeError) as wrong:
                self.complaints.append(repr(wrong))
                return 400, b'{"code": 3, "message": "wrong"}', {}
            status, answer, more = self.behave(spans) or (200, b"{}", {})
            if status == 200:
                self.spans += spans
            return status, answer, more

    def _read(self, path, headers, body):
        if path != "/v1/traces" or headers["Content-Type"] != "application/json":
            raise Wrong(f"{path}, {headers['Content-Type']}")
        found = []
        for resource in _only(json.loads(body.decode()), ("resourceSpans",))["resourceSpans"]:
            _only(resource, ("resource", "scopeSpans"))
            of = _attributes(_only(resource["resource"], ("attributes",))["attributes"])
            for scope in resource["scopeSpans"]:
                _only(scope, ("scope", "spans"))
                _only(scope["scope"], ("name", "version"))
                found += [Span(span, of) for span in scope["spans"]]
        if not found or len({(span.trace, span.id) for span in found}) != len(found):
            raise Wrong("no spans, or one twice")
        return found

    def wait(self, condition, timeout, what):
        return self.changes.wait(lambda: condition(self), timeout * PATIENCE,
                                 lambda: f"{what}; {len(self.spans)} spans, {self.complaints}")

    def wait_spans(self, count, timeout=20):
        self.wait(lambda receiver: len(receiver.spans) >= count, timeout, f"{count} spans")
        assert not self.complaints
        return list(self.spans)
