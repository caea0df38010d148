"""Listen URLs, and reserving them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tianlu_registry.server.addresses import (
    Reservation,
    TcpAddress,
    UnixAddress,
    parse_listen_urls,
)
from tianlu_registry.server.errors import CannotStart


def parse(text: str) -> tuple[object, ...]:
    return parse_listen_urls("--listen-client-urls", text)


def test_every_form() -> None:
    assert parse("http://127.0.0.1:2379, http://localhost:0 ,unix:/a/b,unix:///c") == (
        TcpAddress("127.0.0.1", 2379),
        TcpAddress("127.0.0.1", 0),
        UnixAddress(Path("/a/b")),
        UnixAddress(Path("/c")),
    )
    (six,) = parse("http://[::1]:80/")
    assert six == TcpAddress("::1", 80)
    assert six.url == "http://[::1]:80"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "give at least one URL"),
        ("ftp://127.0.0.1:1", "not of the form"),
        ("unixs:", "path of 1 to 107"),
        ("127.0.0.1:2379", "not of the form"),
        ("http://127.0.0.1", "not of the form"),
        ("http://127.0.0.1:1/path", "not of the form"),
        ("http://127.0.0.1:99999", "is not a URL"),
        ("http://no.such.host.invalid:1", "cannot resolve no.such.host.invalid"),
        ("unix:", "path of 1 to 107"),
        ("unix:/" + "x" * 107, "path of 1 to 107"),
        ("http://127.0.0.1:5,http://127.0.0.1:5", "given twice"),
    ],
)
def test_bad_urls_are_named(text: str, problem: str) -> None:
    with pytest.raises(CannotStart, match=f"--listen-client-urls: .*{problem}"):
        parse(text)


def test_port_zero_becomes_real_and_stays_ours() -> None:
    with Reservation("--x", (TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0))) as held:
        first, second = held.addresses
        assert isinstance(first, TcpAddress)
        assert first.port != 0
        assert first != second
        with pytest.raises(CannotStart, match=r"the port is taken"):
            Reservation("--x", (first,))
    with Reservation("--x", (first,)) as again:
        assert again.addresses == (first,)


def test_taken_port_is_refused_and_nothing_stays_reserved() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = TcpAddress("127.0.0.1", other.getsockname()[1])
        with Reservation("--x", (TcpAddress("127.0.0.1", 0),)) as held:
            (free,) = held.addresses
        with pytest.raises(CannotStart, match=f"--x: {taken.url}: the port is taken"):
            Reservation("--x", (free, taken))
        with Reservation("--x", (free,)):
            pass


def test_address_of_another_machine() -> None:
    with pytest.raises(CannotStart, match="does not have that address"):
        Reservation("--x", (TcpAddress("192.0.2.1", 0),))


def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(CannotStart, match="does not exist"):
        Reservation("--x", (UnixAddress(tmp_path / "no" / "s"),))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(CannotStart, match="another process serves this socket"):
            Reservation("--x", (UnixAddress(path),))
    assert path.exists()
    Reservation("--x", (UnixAddress(path),)).close()  # left over: Envoy replaces it


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotStart, match="is not writable"):
        Reservation("--x", (UnixAddress(tmp_path / "s"),))
