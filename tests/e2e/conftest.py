"""One platform with the demo shop serves all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.platform_process import Platform, platform


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with the demo shop. Tests may kill its parts and must wait until they are back."""
    data_dir: Path = tmp_path_factory.mktemp("shop") / "data"
    with platform(data_dir, "--demo") as running:
        yield running.wait_ready(demo=True)
