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
from app.boot.startup import stop_responder
from app.health import metrics
from app.health.monitor import Monitor
from app.settings import load

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

PROBES = ("/health", "/live", "/ready", "/metrics", "/migrations", "/overview")


def is_not_probe(record: logging.LogRecord) -> bool:
    """Return False for probes in the access log, which come every few seconds."""
    path = str(record.args[2]) if isinstance(record.args, tuple) and len(record.args) > 2 else ""
    return path.partition("?")[0] not in PROBES


logging.getLogger("uvicorn.access").addFilter(is_not_probe)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Take over from the startup responder before the first request."""
    workers.exit_with_supervisor()
    settings = load()
    app.state.monitor = Monitor(settings)
    await app.state.monitor.read()  # opens the connections before the first request
    # The responder stops accepting on the shared socket at once. Its last responses may take longer
    # than this waits.
    stopping = threading.Thread(target=stop_responder, daemon=True)
    stopping.start()
    await asyncio.to_thread(stopping.join, 1)
    progress.finish(settings.run_dir)
    yield


app = FastAPI(title="Deal Scout", version=VERSION, lifespan=lifespan)
app.add_middleware(metrics.RequestMetrics)
problems.install(app)
for routes in (probes, deals, scouts):
    app.include_router(routes.router)
