"""Google Pub/Sub's REST API v1 (cloud.google.com/pubsub/docs/reference/rest/v1: pull, acknowledge,
modifyAckDeadline, publish), with Google's two ways to a token: OAuth 2.0 for service accounts
(developers.google.com/identity/protocols/oauth2/service-account) and the metadata server."""

import base64
import json
import re
import subprocess
import tempfile
import time
import urllib.parse
import uuid

from lib.http_queue import Answer, HttpQueueServer, Message, Queue, Wrong

PROJECT = "tests-4711"
SCOPES = {"https://www.googleapis.com/auth/pubsub", "https://www.googleapis.com/auth/cloud-platform"}
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SUBSCRIPTION = re.compile(r"/v1/projects/([\w-]+)/subscriptions/([\w.~+%-]+):([A-Za-z]+)")
_TOPIC = re.compile(r"/v1/projects/([\w-]+)/topics/([\w.~+%-]+):([A-Za-z]+)")
_LOOK = re.compile(r"/v1/projects/([\w-]+)/(topics|subscriptions)/([\w.~+%-]+)")
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"


def _error(code, status, message):
    return Answer(code, {"error": {"code": code, "message": message, "status": status}})


def _stamp(milliseconds):
    seconds, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


def _segment(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class ServiceAccount:
    """An account with its key, as the console's JSON key file has it."""

    def __init__(self, directory, token_uri):
        self.email = f"sluice@{PROJECT}.iam.gserviceaccount.com"
        self.key_id = uuid.uuid4().hex
        self._public = directory / "service-account.pub"
        private = subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt",
                                  "rsa_keygen_bits:2048"], check=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True).stdout
        self._public.write_text(subprocess.run(
            ["openssl", "pkey", "-pubout"], input=private, check=True, text=True,
            stdout=subprocess.PIPE).stdout)
        self.file = directory / "service-account.json"
        self.content = {"type": "service_account", "project_id": PROJECT,
                        "private_key_id": self.key_id, "private_key": private,
                        "client_email": self.email, "client_id": "4711", "token_uri": token_uri}
        self.file.write_text(json.dumps(self.content))

    def signed(self, text, signature):
        """Whether the account's key signed it by RS256."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(signature)
            file.flush()
            return subprocess.run(["openssl", "dgst", "-sha256", "-verify", self._public,
                                   "-signature", file.name], input=text.encode(),
                                  stdout=subprocess.DEVNULL).returncode == 0


class PubSub(HttpQueueServer):
    """`authentication`: none (as an emulator), account, metadata. `lifetime`: of tokens, in seconds."""

    def __init__(self, authentication="none", **options):
        self.authentication = authentication
        self.account = None
        self.lifetime = 3600
        self.tokens = {}          # token -> monotonic time of its end
        self.tokens_given = 0
        self.may_publish = True
        self.may_get = True       # the subscription itself
        self.poll = 1.0           # seconds that a pull without messages waits
        self.most = 10_000_000    # bytes of a request to publish
        self.subscriptions, self.topics = {}, {}
        super().__init__(**options)

    @property
    def token_uri(self):
        return f"{self.origin}/token"

    def subscription(self, name="orders", ordered=False, deadline=10, dead_letters=True):
        """Makes one, with a topic of the same name. `dead_letters`: whether it has a policy of them,
        as only then the API tells deliveryAttempt."""
        with self.changes:
            queue = Queue(strict_keys=ordered)
            queue.deadline, queue.counts = deadline, dead_letters
            self.subscriptions[name] = self.topics[name] = queue
            return queue

    def produce(self, queue, bodies, key=None, **attributes):
        with self.changes:
            for body in bodies:
                queue.add(Message(body if isinstance(body, bytes) else body.encode(), key, attributes))

    # -- the API --

    def api(self, request):
        if request.path == "/token":
            return self._token_of_account(request)
        if request.path == METADATA:
            return self._token_of_metadata(request)
        look = _LOOK.fullmatch(request.path)
        if look and request.method == "GET":
            self._authenticate(request)
            return self._get(look[1], look[2], urllib.parse.unquote(look[3]))
        match = _SUBSCRIPTION.fullmatch(request.path) or _TOPIC.fullmatch(request.path)
        if not match:
            raise Wrong("no such resource", Answer(404, b"<html>404</html>",
                                                   {"Content-Type": "text/html"}))
        request.name = match[3]
        self._authenticate(request)
        if request.method != "POST" or request.query:
            raise Wrong("not a POST without a query", _error(404, "NOT_FOUND", "Method not found."))
        if request.headers.get("content-type") != "application/json":
            raise Wrong("no JSON", _error(400, "INVALID_ARGUMENT", "Content-Type"))
        places = self.topics if "/topics/" in request.path else self.subscriptions
        queue = places.get(urllib.parse.unquote(match[2]))
        if request.name == "testIamPermissions" and self.authentication != "none":
            return self._test_permissions(queue, json.loads(request.body))
        if match[1] != PROJECT or queue is None:
            return _error(404, "NOT_FOUND", f"Resource not found (resource={match[2]}).")
        methods = {"publish", "testIamPermissions"} if places is self.topics else {"pull", "acknowledge",
                                                             "modifyAckDeadline"}
        try:
            body = json.loads(request.body)
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            raise Wrong("no JSON object", _error(400, "INVALID_ARGUMENT", "Invalid JSON")) from None
        if request.name == "testIamPermissions":  # an emulator knows none
            return _error(404, "NOT_FOUND", "Method not found.")
        if request.name not in methods:
            raise Wrong("no such method", _error(404, "NOT_FOUND", "Method not found."))
        if request.name == "pull":
            return self._pull(queue, body)
        with self.changes:
            return getattr(self, f"_{request.name}")(queue, body)

    def _get(self, project, what, name):
        places = self.topics if what == "topics" else self.subscriptions
        if project != PROJECT or name not in places:
            return _error(404, "NOT_FOUND", f"Resource not found (resource={name}).")
        found = {"name": f"projects/{PROJECT}/{what}/{name}"}
        if what == "subscriptions":
            if not self.may_get:
                return _error(403, "PERMISSION_DENIED", "User not authorized to perform this action.")
            found["ackDeadlineSeconds"] = places[name].deadline
            if places[name].counts:
                found["deadLetterPolicy"] = {"deadLetterTopic": f"projects/{PROJECT}/topics/lost",
                                             "maxDeliveryAttempts": 5}
            if places[name].strict_keys:
                found["enableMessageOrdering"] = True
        return Answer(200, found)

    def _test_permissions(self, queue, body):
        """Of a resource that does not exist nobody has any; the API does not tell more."""
        self._keys(body, ("permissions",))
        known = queue is not None and self.may_publish
        return Answer(200, {"permissions": body["permissions"]} if known else {})

    def _authenticate(self, request):
        given = request.headers.get("authorization")
        if self.authentication == "none":
            if given is not None:
                raise Wrong("a credential for an emulator", _error(400, "INVALID_ARGUMENT", "?"))
            return
        with self.changes:
            until = self.tokens.get((given or "").removeprefix("Bearer "), 0)
        if until <= time.monotonic():
            raise Unauthorised()

    @staticmethod
    def _refuse(what):
        raise Wrong(what, _error(400, "INVALID_ARGUMENT", what))

    def _keys(self, found, allowed):
        if not isinstance(found, dict) or set(found) - set(allowed):
            self._refuse(f"{found} has other keys than {allowed}")

    def _pull(self, queue, body):
        # returnImmediately is deprecated and discouraged, but for a look, which waits for nothing.
        self._keys(body, ("maxMessages", "returnImmediately"))
        most = body.get("maxMessages")
        if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= 1000:
            self._refuse(f"maxMessages {most}")
        taken = self.long_poll(lambda: queue.take(most, queue.deadline),
                               0 if body.get("returnImmediately") else self.poll)
        if not taken or taken == ["closing"]:
            return Answer(200, b"{}\n")  # "the response can be entirely empty"
        return Answer(200, {"receivedMessages": [self._received(queue, m) for m in taken]})

    @staticmethod
    def _received(queue, message):
        content = {"messageId": message.id, "publishTime": _stamp(message.born_ms)}
        if message.body:
            content["data"] = base64.b64encode(message.body).decode()
        if message.attributes:
            content["attributes"] = message.attributes
        if message.key:
            content["orderingKey"] = message.key
        received = {"ackId": message.receipt, "message": content}
        if queue.counts:
            received["deliveryAttempt"] = message.attempts
        return received

    def _ids(self, queue, body):
        found = body.get("ackIds")
        if not isinstance(found, list) or not found or len(found) > 2500:
            self._refuse("ackIds is not a list of 1 to 2500")
        for ack in found:
            if ack not in queue.receipts or found.count(ack) > 1:
                self._refuse(f"ackId {ack}, unknown or named twice")
        return found

    def _acknowledge(self, queue, body):
        self._keys(body, ("ackIds",))
        for ack in self._ids(queue, body):
            queue.settle(ack)
        return Answer(200, b"{}\n")

    def _modifyAckDeadline(self, queue, body):
        self._keys(body, ("ackIds", "ackDeadlineSeconds"))
        seconds = body.get("ackDeadlineSeconds")
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 <= seconds <= 600:
            self._refuse(f"ackDeadlineSeconds {seconds}")
        for ack in self._ids(queue, body):
            queue.extend(ack, seconds)
            message = queue.receipts[ack]
            if seconds == 0:
                queue.release(ack, 0)
            message.more["deadlines"] = message.more.get("deadlines", []) + [seconds]
        return Answer(200, b"{}\n")

    def _publish(self, queue, body):
        self._keys(body, ("messages",))
        size = sum(len(content.get("data", "")) for content in body.get("messages", ()))
        if size > self.most:
            raise Wrong("", _error(400, "INVALID_ARGUMENT", "The value for request_size is too large. You passed "
                                   f"{size} in the request, but the maximum value is {self.most}."))
        made = []
        for content in body.get("messages") or self._refuse("no messages"):
            self._keys(content, ("data", "attributes", "orderingKey"))
            attributes = content.get("attributes", {})
            if not content.get("data") and not attributes:
                self._refuse("a message needs data or attributes")
            if not all(isinstance(text, str) for pair in attributes.items() for text in pair):
                self._refuse(f"attributes {attributes}")
            # cloud.google.com/pubsub/quotas
            if len(attributes) > 100 or not all(
                    0 < len(name.encode()) <= 256 and not name.startswith("goog") and len(text.encode()) <= 1024
                    for name, text in attributes.items()):
                self._refuse(f"attributes beyond bounds: {attributes}")
            made.append(Message(base64.b64decode(content.get("data", ""), validate=True),
                                content.get("orderingKey"), attributes))
        for message in made:
            queue.add(message)
        return Answer(200, {"messageIds": [message.id for message in made]})

    # -- tokens --

    def _new_token(self):
        with self.changes:
            self.tokens_given += 1
            token = f"ya29.{uuid.uuid4().hex}"
            self.tokens[token] = time.monotonic() + self.lifetime
        return Answer(200, {"access_token": token, "expires_in": self.lifetime,
                            "token_type": "Bearer"})

    def _token_of_metadata(self, request):
        request.name = "metadata"
        if self.authentication != "metadata" or request.method != "GET":
            raise Wrong("no metadata server", Answer(404, b"not found"))
        if request.headers.get("metadata-flavor") != "Google":
            raise Wrong("no Metadata-Flavor: Google", Answer(403, b"Missing Metadata-Flavor"))
        return self._new_token()

    def _token_of_account(self, request):
        request.name = "token"
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if (request.method != "POST" or set(form) != {"grant_type", "assertion"}
                or request.headers.get("content-type") != "application/x-www-form-urlencoded"
                or form["grant_type"] != GRANT or "authorization" in request.headers):
            raise Wrong(f"not a token request: {form}", Answer(400, {"error": "invalid_request"}))
        problem = self._problem(form["assertion"])
        if problem:
            raise Wrong(problem, Answer(400, {"error": "invalid_grant",
                                              "error_description": problem}))
        return self._new_token()

    def _problem(self, assertion):
        parts = assertion.split(".")
        if len(parts) != 3 or "=" in assertion:
            return "not a JWT of three parts without padding"
        header, claims = (json.loads(_segment(part)) for part in parts[:2])
        if header != {"alg": "RS256", "typ": "JWT", "kid": self.account.key_id}:
            return f"header {header}"
        if not self.account.signed(".".join(parts[:2]), _segment(parts[2])):
            return "Invalid JWT Signature."
        if set(claims) != {"iss", "scope", "aud", "iat", "exp"} or \
                claims["iss"] != self.account.email or claims["aud"] != self.token_uri or \
                not set(claims["scope"].split()) <= SCOPES:
            return f"claims {claims}"
        if abs(claims["iat"] - time.time()) > 60 or not 0 < claims["exp"] - claims["iat"] <= 3600:
            return "iat and exp must be at most an hour apart and around now"
        return None


class Unauthorised(Wrong):
    """A token that ended is no mistake of the client's."""

    def __init__(self):
        super().__init__("", _error(401, "UNAUTHENTICATED", "Request had invalid credentials."))
