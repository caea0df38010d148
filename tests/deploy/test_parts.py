"""The commands of the platform's parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tianlu_registry.server.retention import parse_retention
from tianlu_standalone.datadir import DataDir, StartError
from tianlu_standalone.parts import platform_parts
from tianlu_standalone.preflight import parse_control_hosts


def test_the_registry_compacts_what_is_older_than_an_hour(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / "data")
    parts = platform_parts(data, "127.0.0.1:0", tmp_path / "status")
    data.close()
    (registry,) = (part for part in parts if part.name == "registry")
    words = list(registry.arguments)
    mode = words[words.index("--auto-compaction-mode") + 1]
    retention = words[words.index("--auto-compaction-retention") + 1]
    assert parse_retention(mode, retention).period_seconds == 3600


def test_the_gateway_is_told_under_which_names_it_may_be_asked(tmp_path: Path) -> None:
    hosts = parse_control_hosts("Tianlu.Test, other")
    assert hosts == ("tianlu.test", "other")
    data = DataDir.open(tmp_path / "data")
    parts = platform_parts(data, "127.0.0.1:0", tmp_path / "status", hosts)
    data.close()
    (gateway,) = (part for part in parts if part.name == "gateway")
    words = list(gateway.arguments)
    assert words[words.index("--control-host") + 1] == "tianlu.test,other"


@pytest.mark.parametrize("text", ["a:80", "http://a", "*", "a..b", "-a", "a b", "x" * 254])
def test_a_name_that_is_none_is_named(text: str) -> None:
    with pytest.raises(StartError, match=r"--control-host: .* is no host name"):
        parse_control_hosts(text)
