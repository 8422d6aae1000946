"""A token endpoint (OAuth 2 client credentials), as an OIDC provider has."""

import base64
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.machine import free_port

CLIENT, SECRET = "sluice-client", "s3cr3t-of-the-oauth-client"


class TokenEndpoint:
    """`refuse` makes it answer 401; `lifetime` is that of the tokens in seconds."""

    def __init__(self, issuer, subject="alice", lifetime=300):
        self.issuer, self.subject, self.lifetime = issuer, subject, lifetime
        self.refuse = False
        self.requests = []
        self.port = free_port()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, answer = endpoint.answer(dict(self.headers), urllib.parse.parse_qs(body))
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/token"

    def answer(self, headers, form):
        self.requests.append(form)
        given = headers.get("Authorization", "")
        if given.startswith("Basic "):
            client, _, secret = base64.b64decode(given[6:]).decode().partition(":")
        else:
            client = form.get("client_id", [""])[0]
            secret = form.get("client_secret", [""])[0]
        if self.refuse or (client, secret) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type"}
        return 200, {"access_token": self.issuer.token(self.subject, self.lifetime),
                     "token_type": "Bearer", "expires_in": self.lifetime}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
