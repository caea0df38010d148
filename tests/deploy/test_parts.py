"""The commands of the platform's parts."""

from __future__ import annotations

from pathlib import Path

from tianlu_registry.server.retention import parse_retention
from tianlu_standalone.datadir import DataDir
from tianlu_standalone.parts import platform_parts


def test_the_registry_compacts_what_is_older_than_an_hour(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / "data")
    parts = platform_parts(data, "127.0.0.1:0", tmp_path / "status")
    data.close()
    (registry,) = (part for part in parts if part.name == "registry")
    words = list(registry.arguments)
    mode = words[words.index("--auto-compaction-mode") + 1]
    retention = words[words.index("--auto-compaction-retention") + 1]
    assert parse_retention(mode, retention).period_seconds == 3600
