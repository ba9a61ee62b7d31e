"""A web service of somebody else's: reads its dictionary, then greets."""

import http.server
import os
import sys

mood = os.environ["MOOD"]
print("reading the dictionary")
if mood == "lost":
    sys.exit("the dictionary is lost")
print("dictionary read: 2 words")
print("listening on 9090")


class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200 if self.path == "/healthz" and mood == "fine" else 500
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 9090), Greeter).serve_forever()
