"""`--watch` in a terminal: updates, resizing, changes of state, and how it ends."""

import http.server
import json
import signal
import socketserver
import threading
import time

import pytest

from harness.servers import free_port
from tests.support.terminal import ENTER_ALT_SCREEN, terminal

SCREENS = [("status", "--watch"), ("health", "--watch")]
EXIT_CODES = {"q": 0, "\x03": 130}


@pytest.mark.parametrize("command", SCREENS, ids=" ".join)
@pytest.mark.parametrize("key", EXIT_CODES, ids=["q", "ctrl-c"])
def test_f32_watch_ends_on_a_key_and_restores_the_terminal(stack, command, key):
    with terminal(stack, *command) as opened:
        opened.until("q quits")
        opened.until("polled at")
        assert ENTER_ALT_SCREEN in opened.written
        opened.press("x")  # any other key is ignored and not echoed
        opened.until("polled at")
        opened.press(key)
        assert opened.end() == EXIT_CODES[key]


@pytest.mark.parametrize("command", SCREENS, ids=" ".join)
def test_watch_restores_the_terminal_when_terminated(stack, command):
    with terminal(stack, *command) as opened:
        opened.until("polled at")
        opened.process.send_signal(signal.SIGTERM)
        assert opened.end() == 128 + signal.SIGTERM


def test_watch_adapts_to_the_window_size(stack):
    with terminal(stack, "status", "--watch") as opened:
        opened.until("polled at")
        for columns, rows in ((60, 12), (120, 30), (80, 5)):
            opened.resize(columns, rows)
            opened.until_drawn(rows)
            assert all(len(line) <= columns for line in opened.drawn)
            if rows > 5:
                assert any(line.startswith("frontend ") for line in opened.drawn)
        opened.press("q")
        assert opened.end() == 0


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"db": True, "redis": True, "queue_depth": 0, "migrations": "current"}
        text = json.dumps(body | {"phase": "serving", "version": "1"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True


def test_health_watch_lists_changes_of_state(stack):
    address = ("127.0.0.1", free_port())
    url = f"http://{address[0]}:{address[1]}"
    with terminal(stack, "health", "--watch", "--url", url) as opened:
        opened.until("connection refused")
        with Server(address, Backend) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            opened.until("backend is healthy")
            opened.until("DB ok")
            server.shutdown()
        opened.until("backend is unreachable")
        opened.until("\x1b[H")
        changes = [line for line in opened.drawn if ":" in line and "after" in line]
        assert "unreachable, after" in changes[0]
        assert "healthy, after" in changes[1]
        opened.press("q")
        assert opened.end() == 0


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        time.sleep(60)


def test_health_watch_ends_during_a_hanging_poll(stack):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        command = ("health", "--watch", "--url", url, "--timeout", "50")
        with terminal(stack, *command) as opened:
            opened.until("polling for 2s")
            opened.press("q")
            assert opened.end(10) == 0
        server.shutdown()
        server.block_on_close = False
