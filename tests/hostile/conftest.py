"""One node for all attacks: what one of them leaves behind, the next one finds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.attacked import Attacked
from registry.registry_process import RegistryProcess


@pytest.fixture(scope="session")
def node() -> Iterator[Attacked]:
    with tempfile.TemporaryDirectory(prefix="tianlu-hostile-") as directory:
        process = RegistryProcess(Path(directory))
        process.start(60)
        try:
            yield Attacked(process)
        finally:
            process.kill()
