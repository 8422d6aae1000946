"""HTTP queues of each dialect: a strict server with one queue, and how a mapping names it."""

from lib.cloudflare import ACCOUNT, Cloudflare
from lib.generic_queues import IronMq, Pgmq
from lib.pubsub import PROJECT, PubSub
from lib.sluice import merge, quick_rules
from lib.sqs import KEY_ID, REGION, SECRET, Sqs


def called(request):
    """What an API tells calls apart by."""
    return request.headers.get("x-amz-target") or request.path


class Kind:
    """A server with one queue, and what the cases need to know of its API."""

    def __init__(self, server, queue, source, names, bodies=str.encode):
        self.server, self.queue, self.source = server, queue, source
        self.receive, self.ack = names
        self._bodies = bodies

    def produce(self, texts):
        self.server.produce(self.queue, [self._bodies(text) for text in texts])

    def count(self, name):
        return sum(called(request).endswith(name) for request in self.server.requests)

    def is_ack(self, request):
        return self.ack in (request.method, called(request)[-len(self.ack):])


def cloudflare(**options):
    server = Cloudflare(**options)
    name, queue = server.queue()
    return Kind(server, queue, {
        "dialect": "cloudflare", "url": server.api_url, "token": server.token,
        "cloudflare": {"account": ACCOUNT, "queue": name}}, ("/pull", "/ack"), bodies=str)


def pubsub(**options):
    server = PubSub(**options)
    queue = server.subscription()
    return Kind(server, queue, {
        "dialect": "pubsub", "url": server.origin,
        "pubsub": {"project": PROJECT, "subscription": "orders", "topic": "orders",
                   "authentication": server.authentication}}, (":pull", ":acknowledge"))


def ironmq(**options):
    server = IronMq(**options)
    queue = server.queue()
    base = server.base()
    return Kind(server, queue, {"dialect": "generic", "token": server.secret, "generic": {
        "headers": {"Authorization": "OAuth {secret}"},
        "receive": {"url": f"{base}/reservations", "body": '{"n": {count}, "timeout": {lease}}'},
        "list": "/messages", "id": "/id", "receipt": "/reservation_id", "body": "/body",
        "attempts": "/reserved_count",
        "ack": {"method": "DELETE", "url": base + "/messages/{id}",
                "body": '{"reservation_id": "{receipt}"}'},
        "release": {"url": base + "/messages/{id}/release",
                    "body": '{"reservation_id": "{receipt}", "delay": {delay}}'},
        "extend": {"url": base + "/messages/{id}/touch",
                   "body": '{"reservation_id": "{receipt}", "timeout": {lease}}',
                   "receipt": "/reservation_id"},
        "publish": {"url": f"{base}/messages", "body": '{"messages": [{"body": "{body}"}]}'},
        "check": {"url": base},
    }}, ("/reservations", "DELETE"), bodies=str)


def pgmq(**options):
    server = Pgmq(**options)
    queue = server.queue()
    return Kind(server, queue, {"dialect": "generic", "token": server.secret, "generic": {
        "headers": {"Authorization": "Bearer {secret}", "Content-Profile": "pgmq"},
        "receive": {"url": f"{server.base}/read",
                    "body": '{"queue_name": "orders", "vt": {lease}, "qty": {count}}'},
        "id": "/msg_id", "body": "/message", "attempts": "/read_ct",
        "ack": {"url": f"{server.base}/delete",
                "body": '{"queue_name": "orders", "msg_ids": [{receipts}]}'},
        "release": {"url": f"{server.base}/set_vt",
                    "body": '{"queue_name": "orders", "msg_id": {receipt}, "vt": {delay}}'},
        "extend": {"url": f"{server.base}/set_vt",
                   "body": '{"queue_name": "orders", "msg_id": {receipt}, "vt": {lease}}'},
        "publish": {"url": f"{server.base}/send",
                    "body": '{"queue_name": "orders", "msg": {body_json}}'},
    }}, ("/read", "/delete"))


def sqs(**options):
    server = Sqs(**options)
    queue = server.queue()
    return Kind(server, queue, {"dialect": "sqs", "sqs": {
        "queue": server.url(queue), "region": REGION, "access_key_id": KEY_ID,
        "secret_access_key": SECRET}}, ("ReceiveMessage", "DeleteMessageBatch"), bodies=str)


KINDS = {"sqs": sqs, "cloudflare": cloudflare, "pubsub": pubsub, "ironmq": ironmq, "pgmq": pgmq}


def http_mapping(kind, function, source=None):
    """A working mapping of a Kind, with quick retries."""
    return {**quick_rules(function),
            "source": {"http": merge({"lease": "30s", "timeout": "5s",
                                      "poll": {"least": "50ms", "most": "500ms"}},
                                     merge(kind.source, source or {}))},
            "order": "none", "idempotency": {"token": "message_id"}}
