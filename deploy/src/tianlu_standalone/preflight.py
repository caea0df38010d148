"""What must be so before anything is started, each said in one line when it is not."""

from __future__ import annotations

import errno
import ipaddress
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from tianlu_standalone.datadir import StartError
from tianlu_standalone.nodes import COUNTS

PYTHON_MIN = (3, 11)

FIRST_START_BYTES = 256 << 20
"""Room that a new data directory needs: the registry reserves its first log segment (64 MiB) and
refuses writes below 128 MiB free."""

NODE_BYTES = 64 << 20
"""Room for the first log segment of each further registry node."""

RESTART_BYTES = 16 << 20
"""Room that an old one needs for the parts to start at all; the registry then serves reads and
deletes, so that somebody can make room."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A checked HOST:PORT; port 0 lets the kernel choose."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Say whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """Return the address that --listen names.

    Raises:
        StartError: it is not HOST:PORT with a port from 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise StartError(f"--listen: {text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return ListenAddress(host, int(port))


def parse_control_hosts(text: str) -> tuple[str, ...]:
    """Return the names that --control-host lists, in lower case.

    Raises:
        StartError: one is no host name.
    """
    # Imported here so that `tianlu --help` stays quick.
    from tianlu_mesher.addresses import parse_host_names
    from tianlu_mesher.errors import InvalidOption

    try:
        return parse_host_names("--control-host", text)
    except InvalidOption as error:
        raise StartError(str(error)) from error


def parse_nodes(count: int | None) -> int | None:
    """Return the number of registry nodes that --nodes names.

    Raises:
        StartError: a cluster of so many makes no sense.
    """
    if count is not None and count not in COUNTS:
        raise StartError(
            f"--nodes: {count} is not 1, 3 or 5; a cluster serves while more than half of its"
            " nodes do, so an even number survives no more failures than one node less"
        )
    return count


def check_python() -> None:
    """Refuse a Python that is too old.

    Raises:
        StartError: it is.
    """
    if sys.version_info < PYTHON_MIN:
        found = ".".join(map(str, sys.version_info[:3]))
        raise StartError(f"Python {found} is too old: 3.11 or newer is needed")


def check_exposure(address: ListenAddress, *, allowed: bool) -> None:
    """Refuse to offer the unencrypted entrance to other machines unless told to.

    Raises:
        StartError: the address is not a loopback one and `allowed` is false.
    """
    if not address.loopback and not allowed:
        raise StartError(
            f"--listen: {address} can be reached from other machines, and the entrance is not"
            " encrypted, nor without --auth guarded by passwords; listen on 127.0.0.1, or say"
            " --allow-insecure-listen"
        )


def check_room(root: Path, *, new_nodes: int) -> None:
    """Refuse a disk that is too full to start on.

    Args:
        root: the data directory.
        new_nodes: registry nodes of which nothing is kept there yet.

    Raises:
        StartError: less is free than is needed.
    """
    needed = FIRST_START_BYTES + (new_nodes - 1) * NODE_BYTES if new_nodes else RESTART_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise StartError(
            f"cannot use data directory {root}: the disk is full ({free >> 20} MiB are free,"
            f" {needed >> 20} MiB are needed); make room or choose another --data-dir"
        )


def claim_port(address: ListenAddress) -> ListenAddress:
    """Return the address with its port known and free.

    Raises:
        StartError: the port is taken or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host.strip("[]"), address.port))
        except OSError as error:
            raise StartError(f"--listen: cannot use {address}: {_reason(error)}") from error
        return ListenAddress(address.host, probe.getsockname()[1])


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken; stop what uses it or choose another with --listen HOST:PORT"
    if error.errno == errno.EACCES:
        return "ports below 1024 need more rights; choose a higher one"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "this machine has no such address"
    return error.strerror or str(error)
