"""What tests side by side rely on."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="the tests run one by one")
def test_the_tests_of_a_module_share_a_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist silently groups nothing when pytest ignores the group in an item's id."""
    assert request.node.nodeid.endswith("@tests/unit/test_grouping.py")
