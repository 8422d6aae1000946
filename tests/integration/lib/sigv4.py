"""AWS's signature version 4, checked as the documentation describes it
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""

import calendar
import hashlib
import hmac
import re
import time

SKEW_S = 300
_AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
                            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})")
_MUST_BE_SIGNED = {"host", "x-amz-date"}


class Refused(Exception):
    """With AWS's error code and message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class Key:
    def __init__(self, secret, session=None, ends=None):
        """`ends`: Unix time."""
        self.secret, self.session, self.ends = secret, session, ends


def _mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def check(request, keys, region, service, now):
    """Raises Refused unless one of the keys (id -> Key) signed the request. Returns its id."""
    headers = request.headers
    if "authorization" not in headers:
        raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(headers["authorization"])
    if not match:
        raise Refused("IncompleteSignature", "Authorization header is malformed")
    key_id, date, scope_region, scope_service, signed, signature = match.groups()
    names, stamp = signed.split(";"), headers.get("x-amz-date", "")
    key = keys.get(key_id)
    if key is None:
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    if (scope_region, scope_service) != (region, service) or not stamp.startswith(date):
        raise Refused("SignatureDoesNotMatch", "Credential should be scoped to a valid region or service.")
    own = {name for name in headers if name.startswith("x-amz-")}
    if names != sorted(names) or not _MUST_BE_SIGNED | own <= set(names):
        raise Refused("SignatureDoesNotMatch", "'Host' and all 'X-Amz-*' headers must be signed")
    if abs(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - now) > SKEW_S:
        raise Refused("SignatureDoesNotMatch", f"Signature expired or not yet current: {stamp}")
    if headers.get("x-amz-security-token") != key.session:
        raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.")
    if key.ends is not None and key.ends <= now:
        raise Refused("ExpiredTokenException", "The security token included in the request is expired")
    canonical = "\n".join([
        request.method, request.path, "&".join(f"{a}={b}" for a, b in sorted(request.query.items())),
        *(f"{name}:{' '.join(headers[name].split())}" for name in names), "", signed,
        hashlib.sha256(request.body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{date}/{region}/{service}/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    derived = f"AWS4{key.secret}".encode()
    for part in (date, region, service, "aws4_request"):
        derived = _mac(derived, part)
    if _mac(derived, text).hex() != signature:
        raise Refused("SignatureDoesNotMatch", "The request signature we calculated does not match the "
                                               "signature you provided.")
    return key_id
