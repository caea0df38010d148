"""For all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made depends on what else the machine does; that is no test's finding.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

REAL_PROCESSES = ("e2e", "browser", "cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that run many real processes a second try, which the summary tells.

    They share two processors with each other's leftovers, browsers and proxies; a machine that
    stands still for seconds is no finding about the code. Whatever fails twice is.
    """
    for item in items:
        if any(item.get_closest_marker(name) for name in REAL_PROCESSES):
            item.add_marker(pytest.mark.flaky(reruns=1))
