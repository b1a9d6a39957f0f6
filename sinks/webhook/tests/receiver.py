"""A receiver of webhooks as its documentation has it, without a line of ours: checks each signature with the standard
library, and writes a line of JSON for each request into the file of its first argument. Its port stands on the first
line of its output."""

import base64
import gzip
import hashlib
import hmac
import http.server
import json
import sys
import time

KEYS = [base64.b64decode(secret.removeprefix("whsec_")) for secret in sys.argv[2:]]


def holds(headers, body):
    signed = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
    given = [part.split(",", 1) for part in headers["webhook-signature"].split(" ")]
    wanted = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in KEYS]
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and any(version == "v1" and hmac.compare_digest(text, want) for version, text in given for want in wanted)


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        good = holds(self.headers, body)
        content = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        told = {
            "good": good,
            "id": self.headers["webhook-id"],
            "client": self.headers.get("x-client", ""),
            "authorization": self.headers.get("authorization", ""),
            "path": self.path,
            "json": json.loads(content),
        }
        with open(sys.argv[1], "a", encoding="utf-8") as out:
            out.write(json.dumps(told) + "\n")
        self.send_response(204 if good else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
