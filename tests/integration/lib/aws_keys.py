"""Where AWS's temporary keys come from, as strict as AWS: STS's query API
(docs.aws.amazon.com/STS/latest/APIReference), the credentials service of a container, and version 2 of the
instance metadata service."""

import base64
import json
import time
import urllib.parse
import uuid

from lib.http_queue import Answer, HttpQueueServer, Wrong
from lib.sigv4 import Key, Refused, check
from lib.sqs import REGION

ROLE_ARN = "arn:aws:iam::123456789012:role/sluice-tests"
ROLES = "/latest/meta-data/iam/security-credentials/"
_FIELDS = {
    "AssumeRoleWithWebIdentity": {"RoleArn", "RoleSessionName", "WebIdentityToken"},
    "AssumeRole": {"RoleArn", "RoleSessionName", "ExternalId"},
}


class AwsKeys(HttpQueueServer):
    """Gives keys that `sqs` takes for `lifetime` seconds. `source_keys`: those that may take on a role."""

    def __init__(self, sqs, **options):
        self.sqs = sqs
        sqs.keys.clear()
        self.lifetime = 3600
        self.source_keys = {}
        self.identity = f"e30.{uuid.uuid4().hex}.signature"  # the web identity's token
        self.container_token = f"Basic {uuid.uuid4().hex}"
        self.external_id = None
        self.role = "sluice-tests"
        self.given = []   # what each was asked for by
        self._tokens = set()
        super().__init__(**options)

    def _new(self, asked_by):
        key_id, ends = f"ASIA{uuid.uuid4().hex[:16].upper()}", time.time() + self.lifetime
        key = Key(base64.b64encode(uuid.uuid4().bytes * 2).decode(), f"IQoJ+/{uuid.uuid4().hex}==", ends)
        with self.changes:
            self.sqs.keys[key_id] = key
            self.given.append(asked_by)
        return key_id, key, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))

    def api(self, request):
        if request.path == "/":
            return self._sts(request)
        if request.path == "/container":
            return self._container(request)
        return self._instance(request)

    # -- STS --

    def _sts(self, request):
        form = dict(urllib.parse.parse_qsl(request.body.decode(), keep_blank_values=True))
        request.name = form.pop("Action", "")
        if request.method != "POST" or form.pop("Version", "") != "2011-06-15" or \
                request.headers.get("content-type") != "application/x-www-form-urlencoded" or \
                request.name not in _FIELDS or set(form) - _FIELDS[request.name] or \
                form.get("RoleArn") != ROLE_ARN or not form.get("RoleSessionName"):
            raise Wrong(f"{request.name} {form}", self._error(400, "ValidationError", "?"))
        if request.name == "AssumeRoleWithWebIdentity":
            if "authorization" in request.headers:
                raise Wrong("it is not signed", self._error(400, "ValidationError", "?"))
            if form["WebIdentityToken"] != self.identity:
                raise Wrong("", self._error(400, "InvalidIdentityToken", "The ID Token provided is not valid."))
        else:
            try:
                check(request, self.source_keys, REGION, "sts", time.time())
            except Refused as refused:
                raise Wrong("", self._error(403, refused.code, refused.message)) from None
            if form.get("ExternalId") != self.external_id:
                raise Wrong("", self._error(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"))
        key_id, key, ends = self._new(request.name)
        return Answer(200, f"""<{request.name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <{request.name}Result>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/x/y</Arn></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{key_id}</AccessKeyId>
      <SecretAccessKey>{key.secret}</SecretAccessKey>
      <SessionToken>{key.session}</SessionToken>
      <Expiration>{ends}</Expiration>
    </Credentials>
  </{request.name}Result>
</{request.name}Response>""", {"Content-Type": "text/xml"})

    @staticmethod
    def _error(status, code, message):
        return Answer(status, f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>"
                              f"{message}</Message></Error></ErrorResponse>", {"Content-Type": "text/xml"})

    # -- metadata --

    def _json(self, asked_by, **more):
        key_id, key, ends = self._new(asked_by)
        return Answer(200, json.dumps({"AccessKeyId": key_id, "SecretAccessKey": key.secret,
                                       "Token": key.session, "Expiration": ends, **more}))

    def _container(self, request):
        request.name = "container"
        if request.method != "GET":
            raise Wrong("not a GET", Answer(405))
        if request.headers.get("authorization") != self.container_token:
            raise Wrong("", Answer(403, b"{}"))
        return self._json("container", RoleArn=ROLE_ARN)

    def _instance(self, request):
        request.name = "instance"
        if request.path == "/latest/api/token":
            seconds = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if request.method != "PUT" or not seconds.isdigit() or not 1 <= int(seconds) <= 21600 or \
                    request.body or "x-forwarded-for" in request.headers:
                raise Wrong("the request for a token", Answer(400))
            token = uuid.uuid4().hex
            with self.changes:
                self._tokens.add(token)
            return Answer(200, token, {"Content-Type": "text/plain"})
        if request.method != "GET" or not request.path.startswith(ROLES):
            raise Wrong("the path", Answer(404))
        if request.headers.get("x-aws-ec2-metadata-token") not in self._tokens:
            raise Wrong("no token", Answer(401))
        if not self.role:
            raise Wrong("", Answer(404, "<html>404</html>"))
        if request.path == ROLES:
            return Answer(200, self.role, {"Content-Type": "text/plain"})
        if request.path != ROLES + self.role:
            raise Wrong("the role", Answer(404))
        return self._json("instance", Code="Success", Type="AWS-HMAC", LastUpdated="2026-01-01T00:00:00Z")
