"""The grouping that parallel tests rely on."""

import os

import pytest


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="the tests do not run in parallel"
)
def test_tests_of_a_module_share_a_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist silently groups nothing if the group is missing in an item's id."""
    assert request.node.nodeid.endswith("@tests/unit/test_grouping.py")
