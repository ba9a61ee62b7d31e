"""No acknowledged write or task is lost, whichever process is killed."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import dockerized
from harness.servers import wait_until
from tests.contract.test_backups import sql
from tests.faults.inject import Prober

WRITES, TASKS = 10_000, 1_000
VICTIMS = ("redis", "postgres", "worker", "backend", "beat")


@pytest.fixture
def feeds(stack):
    """Yield the address of a server for the worker: each path is a feed with one deal."""

    class Feed(BaseHTTPRequestHandler):
        def do_GET(self):
            deal = {"title": "Lamp", "url": f"https://shop.example/task{self.path}"}
            body = json.dumps([deal | {"price": "1", "currency": "EUR", "source": "t"}]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((_address_for_workers(stack), 0), Feed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://{}:{}".format(*server.server_address[:2])
        server.shutdown()


def _address_for_workers(stack):
    if stack.runtime == "local":
        return "127.0.0.1"
    network = f"{stack.project}_default"
    [data] = json.loads(dockerized.docker("network", "inspect", network).stdout)
    return data["IPAM"]["Config"][0]["Gateway"]


class Load:
    """Send requests until `count` are acknowledged; failed ones are replaced by new ones."""

    def __init__(self, address, path, status, bodies, count):
        self.acknowledged = set()
        self._next = itertools.count()
        self._request = (address, path, status, bodies, count)

    def run(self):
        address, path, status, bodies, count = self._request
        connection = http.client.HTTPConnection(address, timeout=15)
        while len(self.acknowledged) < count:
            number = next(self._next)
            try:
                text = json.dumps(bodies(number))
                connection.request("POST", path, text, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                if response.status == status:
                    self.acknowledged.add(number)
                else:
                    time.sleep(0.05)
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.05)


def deal(number):
    url = f"https://shop.example/write/{number}"
    return {"title": "Lamp", "url": url, "price": "9.50", "currency": "EUR", "source": "test"}


@pytest.mark.matrix
def test_f30_no_acknowledged_write_or_task_is_lost(stack, feeds, measured):
    address = Prober(stack).address
    sql(stack, "TRUNCATE deals")
    writes = Load(address, "/deals", 201, deal, WRITES)
    tasks = Load(address, "/scouts", 202, lambda n: {"feed": f"{feeds}/{n}"}, TASKS)
    threads = [threading.Thread(target=load.run) for load in (*[writes] * 6, *[tasks] * 2)]
    for thread in threads:
        thread.start()
    kills = Counter()
    for victim in itertools.cycle(VICTIMS):
        if not any(thread.is_alive() for thread in threads):
            break
        with contextlib.suppress(ProcessLookupError, StopIteration, AssertionError):
            stack.kill(victim)
            kills[victim] += 1
        pause(3, threads)
    for thread in threads:
        thread.join()
    assert set(kills) == set(VICTIMS)
    assert len(writes.acknowledged) >= WRITES
    assert len(tasks.acknowledged) >= TASKS
    wait_until("it is healthy again", stack.is_healthy, 60)
    assert saved_numbers(stack, "write") >= writes.acknowledged
    # Tasks of a killed worker are redelivered after 100 s.
    started_at = time.monotonic()
    try:
        wait_until("all tasks ran", lambda: saved_numbers(stack, "task") >= tasks.acknowledged, 180)
    except AssertionError as error:
        missing = sorted(tasks.acknowledged - saved_numbers(stack, "task"))
        lost = f"{len(missing)} of {len(tasks.acknowledged)} missing: {missing[:20]}"
        raise AssertionError(f"{error}: {lost}, {stack.json('health')}") from None
    delay = time.monotonic() - started_at
    measured(
        f"{len(writes.acknowledged)} writes and {len(tasks.acknowledged)} tasks under {kills.total()} kills:"
        f" none lost, the last task after {delay:.0f} s"
    )


def pause(seconds, threads):
    """Sleep, but return early once all threads have finished."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(thread.is_alive() for thread in threads):
        threads[0].join(0.1)


def saved_numbers(stack, kind):
    """Return the numbers in the URLs of the deals of a kind; URLs are unique in the database."""
    query = f"SELECT url FROM deals WHERE url LIKE 'https://shop.example/{kind}/%'"
    return {int(url.rpartition("/")[2]) for url in sql(stack, query).split()}
