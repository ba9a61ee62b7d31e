"""One engine and one stack for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import dockerized


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    dockerized.require_engine()


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dockerized.Project]:
    """Yield a healthy stack, started with `docker compose up -d` in a fresh checkout."""
    with dockerized.project(tmp_path_factory.mktemp("checkout")) as project:
        dockerized.compose(project, "up", "--detach", timeout=600)
        project.wait_healthy()
        yield project
