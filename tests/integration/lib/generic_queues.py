"""Two services for the dialect `generic`, each in the way of a whole family:

IronMq   resources and methods, a receipt beside the id, one message in each call
         (dev.iron.io/mq/3/reference/api)
Pgmq     procedures, an id that is the receipt, lists in one call, bodies that are JSON
         (PostgREST's /rpc over the SQL functions of PGMQ: read, delete, set_vt, send)"""

import json
import re

from lib.http_queue import Answer, HttpQueueServer, Message, Queue, Wrong

SECRET = "secret/of the tests&0123"


def _whole(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class _Generic(HttpQueueServer):
    def __init__(self, **options):
        self.queues = {}
        self.secret = SECRET
        super().__init__(**options)

    def queue(self, name="orders"):
        with self.changes:
            self.queues[name] = Queue()
            return self.queues[name]

    def produce(self, queue, bodies):
        with self.changes:
            for body in bodies:
                queue.add(Message(body))

    def _body(self, request):
        if request.headers.get("content-type") != "application/json":
            raise Wrong("no JSON", self.error(415, "Content-Type must be application/json"))
        try:
            body = json.loads(request.body)
            assert isinstance(body, dict)
            return body
        except (ValueError, AssertionError):
            raise Wrong("no JSON object", self.error(400, "Could not parse the body")) from None

    def _keys(self, found, needed, optional=()):
        if set(needed) - set(found) or set(found) - set(needed) - set(optional):
            self._refuse(f"{found}, expected the keys {needed} and perhaps {optional}")

    def _refuse(self, what, status=400):
        raise Wrong(what, self.error(status, what))


class IronMq(_Generic):
    PROJECT = "4f32d521519cb67829000390"
    _QUEUE = re.compile(rf"/3/projects/{PROJECT}/queues/([\w-]+)")
    _PATH = re.compile(rf"/3/projects/{PROJECT}/queues/([\w-]+)/(reservations|messages)"
                       r"(?:/([0-9a-f]+)(?:/(touch|release))?)?")

    @staticmethod
    def error(status, text):
        return Answer(status, {"msg": text})

    def base(self, name="orders"):
        return f"{self.origin}/3/projects/{self.PROJECT}/queues/{name}"

    def api(self, request):
        match = self._PATH.fullmatch(request.path)
        if request.headers.get("authorization") != f"OAuth {self.secret}":
            return self.error(401, "Invalid token")
        queue = self._QUEUE.fullmatch(request.path)
        if queue and request.method == "GET":
            request.name = "info"
            return Answer(200, {"queue": {"name": queue[1]}}) if queue[1] in self.queues \
                else self.error(404, "Queue not found")
        if not match or request.query:
            self._refuse("no such resource", 404)
        name, kind, message, action = match.groups()
        if name not in self.queues:
            return self.error(404, "Queue not found")
        request.name = {("POST", "reservations", None): "receive", ("POST", "messages", None): "publish",
                        ("DELETE", "messages", "id"): "ack", ("POST", "messages", "id"): action}.get(
                            (request.method, kind, message and "id"))
        if not request.name:
            self._refuse(f"no such method: {request}", 405)
        body = self._body(request)
        with self.changes:
            return getattr(self, f"_{request.name}")(self.queues[name], message, body)

    def _receive(self, queue, _, body):
        self._keys(body, ("n", "timeout"), ("wait",))
        if not _whole(body["n"], 1, 100) or not _whole(body["timeout"], 1, 86400):
            self._refuse(f"{body}")
        return Answer(200, {"messages": [
            {"id": message.id, "body": message.body, "reservation_id": message.receipt,
             "reserved_count": message.attempts} for message in queue.take(body["n"], body["timeout"])]})

    def _held(self, queue, message, body):
        """The message whose receipt it is, or None where it ran out."""
        found = queue.receipts.get(body["reservation_id"])
        if not found or found.id != message:
            self._refuse(f"reservation {body['reservation_id']} of {message}", 404)
        return found if found.receipt == body["reservation_id"] else None

    def _ack(self, queue, message, body):
        self._keys(body, ("reservation_id",))
        if not self._held(queue, message, body):
            return self.error(403, "Reservation has timed out")
        queue.settle(body["reservation_id"])
        return Answer(200, {"msg": "Deleted"})

    def _release(self, queue, message, body):
        self._keys(body, ("reservation_id", "delay"))
        if not self._held(queue, message, body):
            return self.error(403, "Reservation has timed out")
        if not _whole(body["delay"], 0, 604800):
            self._refuse(f"delay {body['delay']}")
        queue.release(body["reservation_id"], body["delay"])
        return Answer(200, {"msg": "Released"})

    def _touch(self, queue, message, body):
        """It gives a new reservation, and the old one is void."""
        self._keys(body, ("reservation_id", "timeout"))
        held = self._held(queue, message, body)
        if not held:
            return self.error(403, "Reservation has timed out")
        queue.extend(body["reservation_id"], body["timeout"])
        held.receipt += "t"
        queue.receipts[held.receipt] = held
        return Answer(200, {"reservation_id": held.receipt, "msg": "Touched"})

    def _publish(self, queue, _, body):
        self._keys(body, ("messages",))
        made = [Message(content["body"]) for content in body["messages"]
                if isinstance(content["body"], str)]
        for message in made:
            queue.add(message)
        return Answer(201, {"ids": [message.id for message in made], "msg": "Messages put on queue."})


class Pgmq(_Generic):
    """Bodies are bytes, JSON as PostgreSQL would print it."""

    def __init__(self, **options):
        self.numbers = {}  # msg_id -> message
        self.first = 2 ** 62  # bigint: more digits than a double holds
        super().__init__(**options)

    @staticmethod
    def error(status, text):
        return Answer(status, {"code": "PGRST202", "message": text, "details": None, "hint": None})

    @property
    def base(self):
        return f"{self.origin}/rpc"

    def api(self, request):
        if request.headers.get("authorization") != f"Bearer {self.secret}":
            return self.error(401, "JWSError JWSInvalidSignature")
        if request.method == "OPTIONS":
            return Answer(200, b"", {"Allow": "OPTIONS,POST"})
        if request.headers.get("content-profile") != "pgmq" or request.method != "POST":
            self._refuse(f"no POST to the schema pgmq: {request}", 404)
        request.name = request.path.removeprefix("/rpc/")
        body = self._body(request)
        if request.name not in ("read", "delete", "set_vt", "send") or request.query:
            self._refuse(f"no such function: {request.path}", 404)
        queue = self.queues.get(body.get("queue_name"))
        if queue is None:  # the table q_NAME
            return self.error(404, f"relation \"pgmq.q_{body.get('queue_name')}\" does not exist")
        with self.changes:
            return getattr(self, f"_{request.name}")(queue, body)

    def produce(self, queue, bodies):
        super().produce(queue, bodies)
        with self.changes:
            for message in queue.messages[len(queue.messages) - len(bodies):]:
                self._number(message)

    def _number(self, message):
        message.number = self.first + len(self.numbers)
        self.numbers[message.number] = message
        return message.number

    def _read(self, queue, body):
        self._keys(body, ("queue_name", "vt", "qty"))
        if not _whole(body["vt"], 0, 2 ** 31) or not _whole(body["qty"], 1, 10_000):
            self._refuse(f"{body}")
        rows = [b'{"msg_id":%d,"read_ct":%d,"enqueued_at":"2026-01-01T00:00:00+00:00","message":%s}'
                % (message.number, message.attempts, message.body)
                for message in queue.take(body["qty"], body["vt"])]
        return Answer(200, b"[" + b", \n ".join(rows) + b"]")

    def _of(self, queue, number):
        message = self.numbers.get(number)
        if message not in queue.messages:
            self._refuse(f"msg_id {number}")
        return message

    def _delete(self, queue, body):
        self._keys(body, ("queue_name", "msg_ids"))
        gone = []
        for number in body["msg_ids"]:
            message = self._of(queue, number)
            if not message.settled:
                message.settled = True
                queue.settled.append(message)
                gone.append(number)
        return Answer(200, gone)

    def _set_vt(self, queue, body):
        self._keys(body, ("queue_name", "msg_id", "vt"))
        message = self._of(queue, body["msg_id"])
        if not message.receipt or not _whole(body["vt"], 0, 2 ** 31):
            return Answer(200, [])
        message.more["vt"] = message.more.get("vt", []) + [body["vt"]]
        queue.extend(message.receipt, body["vt"])
        return Answer(200, [{"msg_id": message.number}])

    def _send(self, queue, body):
        self._keys(body, ("queue_name", "msg"), ("delay",))
        message = Message(json.dumps(body["msg"]).encode())
        queue.add(message)
        return Answer(200, [self._number(message)])
