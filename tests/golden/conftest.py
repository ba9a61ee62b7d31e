"""Fixtures for the golden file tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from harness.servers import wait_until
from harness.stacks import LocalStack, local_stack
from tests.golden.local import SETTINGS, age, is_fully_healthy
from tests.integration.boot.conftest import boot, lone_boot  # noqa: F401  fixtures


@pytest.fixture(scope="module")
def never_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Yield a fresh checkout that was never started."""
    with local_stack(tmp_path_factory.mktemp("never-up")) as stack:
        yield stack


@pytest.fixture(scope="module")
def first_up(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LocalStack, subprocess.CompletedProcess[str]]]:
    """Yield the stack of the module and the result of its first `inv up`."""
    with local_stack(tmp_path_factory.mktemp("up")) as stack:
        stack.environment |= SETTINGS
        yield stack, stack.inv("up", timeout=300)


@pytest.fixture
def local(first_up: tuple[LocalStack, object]) -> LocalStack:
    """Return the stack of the module, healthy, with a faked uptime of two days."""
    stack, _ = first_up
    wait_until("all services are healthy", lambda: is_fully_healthy(stack), 120)
    age(stack)
    return stack
