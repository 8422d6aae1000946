"""A function for compose.yaml: prints what it gets, and fails for whatever has "fail" in it."""

import http.server
import json


class Function(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        values = [record.get("value") for record in json.loads(body)["records"]]
        failed = any("fail" in json.dumps(value) for value in values)
        print("failed" if failed else "done", self.headers["Idempotency-Key"], values)
        answer = b'{"errorMessage": "told to fail"}' if failed else b""
        self.send_response(500 if failed else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8080), Function).serve_forever()
