"""Swarm's probe, backend/probe.sh: /ready decides until it was ready once, /live from then on."""

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
        self.status = {"/ready": 503, "/live": 200}
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.partition("?")[0]
                outer.asked.append(path)
                self.send_response(outer.status[path])
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def application():
    made = Application()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def probe(port, folder):
    return subprocess.run(
        ["sh", str(ROOT / "backend" / "probe.sh")],
        env=clean_environment(PORT=str(port), RUN_DIR=str(folder)),
        capture_output=True,
        text=True,
    )


def test_a_replica_is_up_once_it_is_ready_and_stays_up_while_it_lives(application, tmp_path):
    port = application.server.server_port
    assert probe(port, tmp_path).returncode != 0
    application.status["/ready"] = 200
    assert probe(port, tmp_path).returncode == 0
    application.status["/ready"] = 503  # the database is away: no reason to be replaced
    assert probe(port, tmp_path).returncode == 0
    application.status["/live"] = 500
    assert probe(port, tmp_path).returncode != 0
    assert application.asked == ["/ready", "/ready", "/live", "/live"]


def test_a_new_boot_must_be_ready_anew(application, tmp_path):
    application.status["/ready"] = 200
    probe(application.server.server_port, tmp_path)
    assert progress.was_ready_file(tmp_path).exists()
    progress.start(tmp_path)
    assert not progress.was_ready_file(tmp_path).exists()


def test_nobody_there_is_no_success(tmp_path):
    assert probe(free_port(), tmp_path).returncode != 0
    assert not progress.was_ready_file(tmp_path).exists()
