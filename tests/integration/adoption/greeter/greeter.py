"""A small foreign web service: reads its dictionary, then serves."""

import http.server
import os
import sys

mode = os.environ["MODE"]
print("reading the dictionary")
if mode == "crash":
    sys.exit("the dictionary is missing")
print("dictionary read: 2 words")
print("listening on 9090")


class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200 if self.path == "/healthz" and mode == "healthy" else 500
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 9090), Greeter).serve_forever()
