"""How many registry nodes a data directory has, and at which ports: kept, and defended."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tianlu_standalone import nodes as nodes_module
from tianlu_standalone.datadir import DataDir, StartError
from tianlu_standalone.nodes import RegistryNodes, open_nodes
from tianlu_standalone.preflight import parse_nodes


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataDir]:
    held = DataDir.open(tmp_path / "data")
    yield held
    held.close()


def started(data: DataDir, asked: int | None) -> RegistryNodes:
    """Open the nodes and leave what a start leaves."""
    made = open_nodes(data, asked)
    for node in made.nodes:
        data.part(node.name).mkdir()
    return made


def test_a_new_directory_has_one_node_unless_told_otherwise(data: DataDir) -> None:
    (node,) = started(data, None).nodes
    assert (node.name, node.client_port, node.peer_port) == ("registry", 0, 0)


def test_ports_are_chosen_once_and_all_differ(data: DataDir) -> None:
    made = started(data, 3)
    ports = {port for node in made.nodes for port in (node.client_port, node.peer_port)}
    assert len(ports) == 6
    assert 0 not in ports
    assert open_nodes(data, 3) == made
    assert open_nodes(data, None) == made
    assert made.initial_cluster.startswith("registry-1=http://127.0.0.1:")


def test_ports_are_not_those_that_the_kernel_gives_to_outgoing_connections(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "range"
    told.write_text("20000\t60999\n")
    monkeypatch.setattr(nodes_module, "_PORT_RANGE_FILE", told)
    assert all(node.peer_port < 20000 for node in started(data, 5).nodes)
    monkeypatch.setattr(nodes_module, "_PORT_RANGE_FILE", tmp_path / "missing")
    with nodes_module._free_port() as port:
        assert port > 0


@pytest.mark.parametrize(("made", "asked"), [(1, 3), (3, 1), (3, 5)])
def test_another_number_of_nodes_is_refused_with_what_to_do(
    data: DataDir, made: int, asked: int
) -> None:
    started(data, made)
    with pytest.raises(StartError, match=rf"made with {made} registry nodes?, not {asked}; say"):
        open_nodes(data, asked)


def test_a_directory_of_before_there_was_a_choice_has_one(data: DataDir) -> None:
    data.part("registry").mkdir()
    assert [node.name for node in open_nodes(data, None).nodes] == ["registry"]
    with pytest.raises(StartError, match="made with 1 registry node, not 3"):
        open_nodes(data, 3)


def test_a_number_that_was_never_started_binds_nobody(data: DataDir) -> None:
    open_nodes(data, 3)
    assert len(open_nodes(data, 1).nodes) == 1


@pytest.mark.parametrize("text", ["", "{}", '{"token": "t", "nodes": [{"x": 1}]}', "[]"])
def test_a_damaged_file_is_named(data: DataDir, text: str) -> None:
    started(data, 3)
    (data.root / "nodes.json").write_text(text)
    with pytest.raises(StartError, match=r"cannot read .*nodes\.json"):
        open_nodes(data, None)


def test_a_taken_peer_port_is_named_and_a_taken_client_port_replaced(data: DataDir) -> None:
    made = started(data, 3)
    first, second, third = made.nodes
    with socket.create_server(("127.0.0.1", second.client_port)):
        found = open_nodes(data, None)
        assert (found.nodes[0], found.nodes[2]) == (first, third)
        assert found.nodes[1].peer_port == second.peer_port
        assert found.nodes[1].client_port not in (0, second.client_port)
        assert open_nodes(data, None) == found
    with (
        socket.create_server(("127.0.0.1", third.peer_port)),
        pytest.raises(StartError, match=rf"port {third.peer_port}, at which registry-3 is known"),
    ):
        open_nodes(data, None)


@pytest.mark.parametrize("count", [0, 2, 4, 6, -1])
def test_numbers_that_make_no_sense_are_refused(count: int) -> None:
    with pytest.raises(StartError, match=rf"--nodes: {count} is not 1, 3 or 5"):
        parse_nodes(count)
