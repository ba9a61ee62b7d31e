"""Whatever the OpenAPI document allows, and much that it does not, sent to the real application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode, openapi

from tests.integration.backend import processes
from tests.integration.backend.processes import Api

pytestmark = pytest.mark.slow  # hundreds of requests


@pytest.fixture(scope="module")
def lonely(module_environment: dict[str, str]) -> Iterator[Api]:
    """The application whose database and Redis are away."""
    away = module_environment | {"DB_PORT": "1", "REDIS_PORT": "1"}
    with processes.serving(away, Path(away["RUN_DIR"])) as api:
        yield api


def for_any_request(api: Api, mode: GenerationMode, check: Callable[[Case], None]) -> int:
    """Call `check` with many requests to each operation; how many operations that are."""
    described = openapi.from_url(f"{api.base_url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    if mode is GenerationMode.NEGATIVE:  # one that takes nothing can be sent nothing wrong
        operations = [o for o in operations if o.query or o.path_parameters or o.body]
    for operation in operations:
        bounded = settings(
            max_examples=40,
            deadline=None,
            derandomize=True,  # the same in every run
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        bounded(given(operation.as_strategy(generation_mode=mode))(check))()
    return len(operations)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_any_request_gets_an_answer_of_the_document(api: Api, mode: GenerationMode) -> None:
    def check(case: Case) -> None:
        case.call_and_validate()

    assert for_any_request(api, mode, check) >= 5
    assert "Traceback" not in api.process.log()


def test_without_the_servers_it_is_said_plainly(lonely: Api) -> None:
    def check(case: Case) -> None:
        answer = case.call()
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        if answer.status_code == 503 and case.path.startswith(("/deals", "/scouts")):
            what = "task queue" if case.path == "/scouts" else "database"
            assert answer.json() == {"detail": f"the {what} is not available"}

    for_any_request(lonely, GenerationMode.POSITIVE, check)
    assert "Traceback" not in lonely.process.log()
