"""What is refused before anything is started."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tianlu_standalone.datadir import StartError
from tianlu_standalone.preflight import (
    ListenAddress,
    check_exposure,
    check_room,
    claim_port,
    parse_listen,
)


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "127.0.0.1", "127.0.0.1:http", "a:65536", "a:-1"]
)
def test_a_listen_address_that_is_none_is_named(text: str) -> None:
    with pytest.raises(StartError, match=r"--listen: .* is not HOST:PORT"):
        parse_listen(text)


def test_ipv6_in_brackets() -> None:
    assert parse_listen("[::1]:80") == ListenAddress("[::1]", 80)
    assert parse_listen("[::1]:80").loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "shop.example"])
def test_other_machines_reach_the_entrance_only_if_told_so(host: str) -> None:
    with pytest.raises(StartError, match="--allow-insecure-listen"):
        check_exposure(ListenAddress(host, 80), allowed=False)
    check_exposure(ListenAddress(host, 80), allowed=True)


def test_a_taken_port_is_said() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StartError, match=rf"127.0.0.1:{port}: the port is taken"):
            claim_port(ListenAddress("127.0.0.1", port))


def test_a_port_of_the_kernel_is_known_afterwards() -> None:
    assert claim_port(ListenAddress("127.0.0.1", 0)).port > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 32 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not in every sandbox")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_said_with_how_much_is_needed(small_disk: Path) -> None:
    with pytest.raises(
        StartError, match=r"the disk is full \(3\d MiB are free, 256 MiB are needed"
    ):
        check_room(small_disk, new_nodes=1)
    check_room(small_disk, new_nodes=0)
    (small_disk / "fill").write_bytes(bytes(20 << 20))
    with pytest.raises(StartError, match="16 MiB are needed"):
        check_room(small_disk, new_nodes=0)
