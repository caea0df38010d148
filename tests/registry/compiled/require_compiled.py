"""A pytest plugin: refuses to run tests that would not meet compiled cores."""

from __future__ import annotations

import pytest

from tianlu_registry.cores import kind_of_cores


def pytest_sessionstart() -> None:
    if kind_of_cores() != "compiled":
        raise pytest.UsageError("the cores are not compiled")
