"""For all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How fast examples are made depends on what else the machine does; that is no test's finding.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
