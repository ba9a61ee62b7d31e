"""Swarm's health check, backend/probe.sh: /ready until it succeeds once, then /live."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from app.boot import progress

from harness.servers import clean_environment, free_port
from harness.stacks import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("wget"), reason="no wget; the image has one")


class Application:
    def __init__(self):
        self.statuses = {"/ready": 503, "/live": 200}
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.partition("?")[0]
                outer.requests.append(path)
                self.send_response(outer.statuses[path])
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def application():
    application = Application()
    threading.Thread(target=application.server.serve_forever, daemon=True).start()
    yield application
    application.server.shutdown()
    application.server.server_close()


def probe(port, folder):
    return subprocess.run(
        ["sh", str(ROOT / "backend" / "probe.sh")],
        env=clean_environment(PORT=str(port), RUN_DIR=str(folder)),
        capture_output=True,
        text=True,
    )


def test_probe_uses_ready_until_it_succeeds_and_then_live(application, tmp_path):
    port = application.server.server_port
    assert probe(port, tmp_path).returncode != 0
    application.statuses["/ready"] = 200
    assert probe(port, tmp_path).returncode == 0
    application.statuses["/ready"] = 503  # a database outage is no reason to replace a replica
    assert probe(port, tmp_path).returncode == 0
    application.statuses["/live"] = 500
    assert probe(port, tmp_path).returncode != 0
    assert application.requests == ["/ready", "/ready", "/live", "/live"]


def test_probe_uses_ready_again_after_a_new_boot(application, tmp_path):
    application.statuses["/ready"] = 200
    probe(application.server.server_port, tmp_path)
    assert progress.was_ready_file(tmp_path).exists()
    progress.start(tmp_path)
    assert not progress.was_ready_file(tmp_path).exists()


def test_probe_fails_when_nothing_listens(tmp_path):
    assert probe(free_port(), tmp_path).returncode != 0
    assert not progress.was_ready_file(tmp_path).exists()
