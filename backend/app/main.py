"""The API: `uvicorn app.main:app`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import VERSION
from app.api import deals, probes, problems, scouts, workers
from app.boot import progress
from app.boot.startup import end_responder
from app.health import metrics
from app.health.monitor import Monitor
from app.settings import load

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

PROBES = ("/health", "/live", "/ready", "/metrics", "/migrations", "/overview")


def not_a_probe(record: logging.LogRecord) -> bool:
    """Whether a line of the access log is worth its place: probes come every few seconds."""
    path = str(record.args[2]) if isinstance(record.args, tuple) and len(record.args) > 2 else ""
    return path.partition("?")[0] not in PROBES


logging.getLogger("uvicorn.access").addFilter(not_a_probe)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    workers.end_with_supervisor()
    config = load()
    app.state.monitor = Monitor(config)
    await app.state.monitor.read()  # so that the first answer finds its connections open
    # It shares our socket, and leaves it at once; its last answers may take longer than we wait.
    ending = threading.Thread(target=end_responder, daemon=True)
    ending.start()
    await asyncio.to_thread(ending.join, 1)
    progress.end(config.run_dir)
    yield


app = FastAPI(title="Deal Scout", version=VERSION, lifespan=lifespan)
app.add_middleware(metrics.Requests)
problems.install(app)
for routes in (probes, deals, scouts):
    app.include_router(routes.router)
