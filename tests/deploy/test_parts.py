"""The commands of the platform's parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tianlu_registry.server.retention import parse_retention
from tianlu_standalone.datadir import DataDir, StartError
from tianlu_standalone.nodes import open_nodes
from tianlu_standalone.parts import Part, platform_parts
from tianlu_standalone.preflight import parse_control_hosts
from tianlu_standalone.users import Users


def made(tmp_path: Path, nodes: int = 1, hosts: tuple[str, ...] = ()) -> tuple[Part, ...]:
    data = DataDir.open(tmp_path / "data")
    try:
        status = tmp_path / "status"
        return platform_parts(data, open_nodes(data, nodes), "127.0.0.1:0", status, hosts)
    finally:
        data.close()


def flag(part: Part, name: str) -> str:
    """Return the value that a part's command gives to a flag."""
    words = list(part.arguments)
    return words[words.index(name) + 1]


def test_the_registry_compacts_what_is_older_than_an_hour(tmp_path: Path) -> None:
    parts = made(tmp_path)
    (registry,) = (part for part in parts if part.name == "registry")
    mode = flag(registry, "--auto-compaction-mode")
    retention = flag(registry, "--auto-compaction-retention")
    assert parse_retention(mode, retention).period_seconds == 3600


def test_the_gateway_is_told_under_which_names_it_may_be_asked(tmp_path: Path) -> None:
    hosts = parse_control_hosts("Tianlu.Test, other")
    assert hosts == ("tianlu.test", "other")
    (gateway,) = (part for part in made(tmp_path, hosts=hosts) if part.name == "gateway")
    assert flag(gateway, "--control-host") == "tianlu.test,other"


def test_each_part_is_somebody_once_there_are_users_and_the_registry_is_nobody(
    tmp_path: Path,
) -> None:
    assert not any("--registry-user" in part.arguments for part in made(tmp_path))
    data = DataDir.open(tmp_path / "data")
    users = Users.of(data)
    users.write()
    arguments = (data, open_nodes(data, 1), "127.0.0.1:0", tmp_path / "status")
    parts = platform_parts(*arguments, users=users)
    data.close()
    somebody = {
        part.name: (flag(part, "--registry-user"), flag(part, "--registry-password-file"))
        for part in parts
        if not part.registry
    }
    assert somebody == {
        name: (name, str(users.password_file(name))) for name in ("mesher", "console", "gateway")
    }
    (registry,) = (part for part in parts if part.registry)
    assert "--registry-user" not in registry.arguments


def test_one_registry_node_is_started_as_it_always_was(tmp_path: Path) -> None:
    (registry,) = (part for part in made(tmp_path) if part.name.startswith("registry"))
    assert registry.name == "registry"
    assert registry.group == ""
    assert "--initial-cluster" not in registry.arguments


def test_several_registry_nodes_know_each_other_and_all_parts_know_all(tmp_path: Path) -> None:
    parts = made(tmp_path, 3)
    registries = [part for part in parts if part.group == "registry"]
    assert [part.name for part in registries] == ["registry-1", "registry-2", "registry-3"]
    assert len({flag(part, "--data-dir") for part in registries}) == 3
    assert len({flag(part, "--initial-cluster-token") for part in registries}) == 1
    (cluster,) = {flag(part, "--initial-cluster") for part in registries}
    assert cluster.split(",") == [
        f"{flag(part, '--name')}={flag(part, '--initial-advertise-peer-urls')}"
        for part in registries
    ]
    assert {flag(part, "--listen-peer-urls") for part in registries} == {
        entry.partition("=")[2] for entry in cluster.split(",")
    }
    told = [flag(part, "--registry").split(",") for part in parts if part not in registries]
    assert len(told) == 3
    assert len({tuple(sorted(endpoints)) for endpoints in told}) == 1, "each part knows all nodes"
    assert len({endpoints[0] for endpoints in told}) == 3, "and prefers one of its own"


@pytest.mark.parametrize("text", ["a:80", "http://a", "*", "a..b", "-a", "a b", "x" * 254])
def test_a_name_that_is_none_is_named(text: str) -> None:
    with pytest.raises(StartError, match=r"--control-host: .* is no host name"):
        parse_control_hosts(text)
