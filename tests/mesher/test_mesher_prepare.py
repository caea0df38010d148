"""Options are checked before anything is started, and each fault names its flag."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tianlu_mesher.addresses import RegistryAddress, parse_address, parse_registry
from tianlu_mesher.agent.config import AgentConfig
from tianlu_mesher.errors import InvalidOption
from tianlu_mesher.launch import ports
from tianlu_mesher.launch.plan import LaunchPlan
from tianlu_mesher.prepare import ProxyOptions, _socket_dir, prepare
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.routing.role import ControlRoute, Role

ROLE = Role("mesher", bare_namespace="default", control_routes=(ControlRoute("/v1/", "somewhere"),))


def options(directory: Path, **more: Any) -> ProxyOptions:
    given = {
        "role": ROLE,
        "static_clusters": (),
        "listen": "127.0.0.1:0",
        "registry": ("127.0.0.1:2379",),
        "data_dir": directory / "data",
    }
    return ProxyOptions(**{**given, **more})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"listen": "nonsense"}, "--listen: 'nonsense' is no address"),
        ({"listen": "127.0.0.1:99999"}, "--listen: '127.0.0.1:99999' is no address"),
        ({"listen": "192.0.2.1:0"}, "--listen: cannot listen on 192.0.2.1:0"),
        ({"status_listen": "unix:/x"}, "--status-listen: the status page needs HOST:PORT"),
        ({"data_dir": Path("/proc/tianlu")}, "--data-dir: /proc/tianlu cannot be written"),
        ({"concurrency": 65}, "--concurrency: 65 is not within 1 to 64"),
        ({"drain_seconds": -1}, "--drain-seconds: -1 is not within 0 to 600"),
        ({"log_level": "LOUD"}, "--log-level: 'LOUD' is none of"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_wrong_option_is_named(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption) as error:
        prepare(options(tmp_path, **given))
    assert str(error.value).startswith(message)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidOption, match=f"cannot listen on {listen}: Address already"):
            prepare(options(tmp_path, listen=listen))


def test_what_is_written_is_what_the_children_read(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 120)  # too long for a socket's path: sockets go elsewhere
    plan = LaunchPlan.read(prepare(options(long, drain_seconds=1.5)))
    assert len(plan.admin_socket) < 108
    Path(plan.admin_socket).parent.rmdir()
    assert plan.drain_seconds == 1.5
    bootstrap = json.loads(Path(plan.bootstrap).read_text())
    assert bootstrap["admin"]["address"]["pipe"]["path"] == plan.admin_socket
    agent = AgentConfig.read(Path(plan.agent_config), status_fd=plan.status_fd)
    assert agent.role == ROLE
    assert agent.registry == ("127.0.0.1:2379",)
    with socket.socket(fileno=agent.status_fd) as status:
        assert status.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_a_port_of_the_kernels_choice_is_taken_again_if_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    data = tmp_path / "data"
    data.mkdir()
    ports.remember(data / "ports.json", {"http": port})
    plan = LaunchPlan.read(prepare(options(tmp_path)))
    assert plan.listen == f"127.0.0.1:{port}"
    socket.socket(fileno=plan.status_fd).close()


def test_a_host_name_to_listen_on_is_resolved_because_envoy_does_not(tmp_path: Path) -> None:
    path = prepare(options(tmp_path, listen="localhost:0", status_listen="localhost:0"))
    plan = LaunchPlan.read(path)
    os.close(plan.status_fd)
    assert plan.listen == "127.0.0.1:0"
    boot = json.loads(Path(plan.bootstrap).read_text())
    (listener,) = boot["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["address"] == "127.0.0.1"


def test_a_directory_for_sockets_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = tmp_path / ("d" * 90)
    path = prepare(options(deep, status_listen="localhost:0"))
    plan = LaunchPlan.read(path)
    os.close(plan.status_fd)
    sockets = Path(plan.xds_socket).parent
    assert sockets.parent == tmp_path
    sockets.rmdir()
    sockets.symlink_to(tmp_path)
    with pytest.raises(InvalidOption, match=r"--data-dir: .* belongs to another user"):
        _socket_dir(deep / "data")


def test_the_run_file_of_one_that_was_killed_is_removed(tmp_path: Path) -> None:
    run_file = tmp_path / "run.json"
    run_file.write_text("{}")
    plan = LaunchPlan.read(prepare(options(tmp_path, run_file=run_file)))
    assert not run_file.exists()
    assert plan.run_file == str(run_file)
    socket.socket(fileno=plan.status_fd).close()


@pytest.mark.parametrize("content", ["", "[]", '{"http": "x"}', '{"http": 70000}'])
def test_a_damaged_memory_of_ports_is_no_memory(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ports.json"
    path.write_text(content)
    assert ports.remembered(path, "http") == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", SocketAddress("127.0.0.1", 80)),
        ("http://registry:2379", SocketAddress("registry", 2379)),
        ("[::1]:80", SocketAddress("::1", 80)),
        ("unix:/run/x.sock", SocketAddress(path="/run/x.sock")),
        ("unix:///run/x.sock", SocketAddress(path="/run/x.sock")),
    ],
)
def test_addresses_as_people_write_them(text: str, address: SocketAddress) -> None:
    assert parse_registry("--registry", text) == (RegistryAddress(address),)
    assert parse_address("--registry", str(address)) == address


def test_registries_may_be_mixed() -> None:
    text = "https://node-1:2379, 10.0.0.2:2379,unix:/run/x.sock,https://[::1]:1"
    found = parse_registry("--registry", text)
    assert [each.tls for each in found] == [True, False, False, True]
    assert ",".join(map(str, found)) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "host",
        "host:0",
        "https://host",
        "https://unix:/x",
        "unix:",
        "h:1/path",
        "unix:/" + "x" * 200,
    ],
)
def test_addresses_that_cannot_be(text: str) -> None:
    with pytest.raises(InvalidOption):
        parse_registry("--registry", text)
