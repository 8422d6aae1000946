"""Cloudflare Queues as an HTTP pull consumer sees it (developers.cloudflare.com/queues,
configuration/pull-consumers and the REST API's messages/pull, messages/ack, messages)."""

import base64
import json
import re

from lib.http_queue import Answer, HttpQueueServer, Message, Queue, Wrong

TOKEN = "cf-token-of-the-tests-0123456789"
ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
_PATH = re.compile(r"/client/v4/accounts/([0-9a-f]{32})/queues/([0-9a-f]{32})(?:(/messages)(/[a-z]+)?)?")


def _envelope(result, errors=()):
    return {"success": not errors, "errors": list(errors), "messages": [], "result": result}


def _error(status, code, message):
    return Answer(status, _envelope(None, [{"code": code, "message": message}]))


def _whole(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class Cloudflare(HttpQueueServer):
    def __init__(self, **options):
        self.queues = {}
        self.token = TOKEN
        self.most = 128_000  # bytes of a message
        super().__init__(**options)

    @property
    def api_url(self):
        return f"{self.origin}/client/v4"

    def queue(self):
        """Makes one; returns its id and itself."""
        with self.changes:
            name = f"{len(self.queues) + 1:032x}"
            self.queues[name] = Queue()
            return name, self.queues[name]

    def produce(self, queue, bodies, content_type="text", **attributes):
        """Bodies: text for `text`, bytes for `bytes` and `json`."""
        with self.changes:
            for body in bodies:
                queue.add(Message(body, attributes={"CF-Content-Type": content_type, **attributes}))

    # -- the API --

    def api(self, request):
        match = _PATH.fullmatch(request.path)
        if not match or request.query:
            raise Wrong("no such resource", _error(404, 7003, "Could not route to it"))
        request.name = (match[4] or "/push")[1:] if match[3] else "queue"
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, 10000, "Authentication error")
        if (request.method, request.name) == ("GET", "queue"):
            if match[1] != ACCOUNT or match[2] not in self.queues:
                return _error(404, 11000, "Queue not found")
            return Answer(200, _envelope({"queue_id": match[2], "queue_name": "orders"}))
        if request.method != "POST" or request.name not in ("pull", "ack", "push"):
            raise Wrong("no such method", _error(405, 10405, "Method not allowed"))
        if request.headers.get("content-type") != "application/json":
            raise Wrong("no JSON", _error(415, 10026, "Content-Type must be application/json"))
        queue = self.queues.get(match[2])
        if match[1] != ACCOUNT or not queue:
            return _error(404, 11000, "Queue not found")
        try:
            body = json.loads(request.body)
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            raise Wrong("no JSON object", _error(400, 10027, "Could not parse the body")) from None
        with self.changes:
            return getattr(self, f"_{request.name}")(queue, body)

    @staticmethod
    def _refuse(what):
        raise Wrong(what, _error(400, 10026, f"invalid body: {what}"))

    def _keys(self, found, allowed):
        if not isinstance(found, dict) or set(found) - set(allowed):
            self._refuse(f"{found} has other keys than {allowed}")

    def _pull(self, queue, body):
        self._keys(body, ("batch_size", "visibility_timeout_ms"))
        size, lease = body.get("batch_size", 5), body.get("visibility_timeout_ms", 30_000)
        if not _whole(size, 1, 100):
            self._refuse(f"batch_size {size}")
        if not _whole(lease, 1, 12 * 3600 * 1000):
            self._refuse(f"visibility_timeout_ms {lease}")
        messages = [{
            "id": message.id, "attempts": message.attempts, "lease_id": message.receipt,
            "timestamp_ms": message.born_ms, "metadata": message.attributes,
            "body": message.body if isinstance(message.body, str)
                    else base64.b64encode(message.body).decode(),
        } for message in queue.take(size, lease / 1000)]
        return Answer(200, _envelope({"message_backlog_count": len(queue.left()),
                                      "messages": messages}))

    def _ack(self, queue, body):
        self._keys(body, ("acks", "retries"))
        acks, retries = body.get("acks", []), body.get("retries", [])
        if not isinstance(acks, list) or not isinstance(retries, list) or not acks + retries:
            self._refuse("nothing to acknowledge or to retry")
        for item in acks:
            self._keys(item, ("lease_id",))
        for item in retries:
            self._keys(item, ("lease_id", "delay_seconds"))
            if not _whole(item.get("delay_seconds", 0), 0, 24 * 3600):
                self._refuse(f"delay_seconds {item['delay_seconds']}")
        leases = [item.get("lease_id") for item in acks + retries]
        for lease in leases:
            if lease not in queue.receipts or leases.count(lease) > 1:
                self._refuse(f"lease_id {lease}, unknown or named twice")
        # "Queues aims to be permissive": what ran out is taken all the same.
        for item in acks:
            queue.settle(item["lease_id"])
        retried = sum(queue.release(item["lease_id"], item.get("delay_seconds", 0))
                      for item in retries)
        return Answer(200, _envelope({"ackCount": len(acks), "retryCount": retried,
                                      "warnings": []}))

    def _push(self, queue, body):
        self._keys(body, ("body", "content_type", "delay_seconds"))
        kind = body.get("content_type", "json")
        if kind not in ("text", "json") or kind == "text" and not isinstance(body["body"], str):
            self._refuse(f"a body of content_type {kind}")
        text = body["body"] if kind == "text" else json.dumps(body["body"]).encode()
        if len(text.encode() if kind == "text" else text) > self.most:
            raise Wrong("", _error(400, 10204, f"message size exceeds limit of {self.most} bytes"))
        queue.add(Message(text, attributes={"CF-Content-Type": kind}),
                  body.get("delay_seconds", 0))
        return Answer(200, _envelope({}))
