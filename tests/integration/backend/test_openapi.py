"""Generated requests, valid and invalid by the OpenAPI document, sent to the real application."""

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
def api_without_servers(module_environment: dict[str, str]) -> Iterator[Api]:
    """Run the application without a database and Redis."""
    environment = module_environment | {"DB_PORT": "1", "REDIS_PORT": "1"}
    with processes.serving(environment, Path(environment["RUN_DIR"])) as api:
        yield api


def check_operations(api: Api, mode: GenerationMode, check: Callable[[Case], None]) -> int:
    """Call `check` with many requests to each operation. Returns the number of operations."""
    schema = openapi.from_url(f"{api.base_url}/openapi.json")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    if mode is GenerationMode.NEGATIVE:  # without parameters, no request is invalid
        operations = [o for o in operations if o.query or o.path_parameters or o.body]
    for operation in operations:
        configure = settings(
            max_examples=40,
            deadline=None,
            derandomize=True,  # the same in every run
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        configure(given(operation.as_strategy(generation_mode=mode))(check))()
    return len(operations)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_openapi_documents_every_response(api: Api, mode: GenerationMode) -> None:
    def check(case: Case) -> None:
        case.call_and_validate()

    assert check_operations(api, mode, check) >= 5
    assert "Traceback" not in api.process.log()


def test_requests_without_the_servers_get_no_server_error_but_503(api_without_servers: Api) -> None:
    def check(case: Case) -> None:
        response = case.call()
        assert response.status_code < 500 or response.status_code == 503, response.text
        if response.status_code == 503 and case.path.startswith(("/deals", "/scouts")):
            dependency = "task queue" if case.path == "/scouts" else "database"
            assert response.json() == {"detail": f"the {dependency} is not available"}

    check_operations(api_without_servers, GenerationMode.POSITIVE, check)
    assert "Traceback" not in api_without_servers.process.log()
