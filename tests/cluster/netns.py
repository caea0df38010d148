"""A network of namespaces: one for each member, all joined by one bridge on this machine.

Clients stand at the bridge's own address, outside of every namespace. What a member sends is
filtered where it leaves the member's cable, so a cut has a direction. Names carry the process id of
their owner: what a crashed run left behind is swept by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster import packet_filter

_PREFIX = "tl"
_OWNED = re.compile(rf"^{_PREFIX}(\d+)[a-z]-")
_NAMESPACES = Path("/run/netns")
_LOCK = Path("/tmp/tianlu-cluster.lock")
_SUBNETS = [f"10.213.{number}" for number in range(1, 255)]
_CLIENT_HOST = 254
_INTERFACE = "eth0"


class NetworkUnusable(Exception):
    """Namespaces cannot be made here; the text says why."""


@functools.cache
def why_unusable() -> str | None:
    """Return why no network can be made here, in words for a skipped test; None when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "tc", "nsenter", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        with Network(1) as network:
            network.cut(0, to_clients=True)
    except NetworkUnusable as error:
        return str(error)
    return None


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetworkUnusable(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """Namespaces for `count` members, numbered from 0, and what lies between them.

    Use as a context manager. All methods belong to one thread.
    """

    _made = 0

    def __init__(self, count: int) -> None:
        self.count = count
        letter = "abcdefghijklmnopqrstuvwxyz"[Network._made % 26]
        Network._made += 1
        self._name = f"{_PREFIX}{os.getpid()}{letter}-"
        self._subnet = ""
        self._blocked: dict[int, set[str]] = {number: set() for number in range(count)}
        self._loss = 0.0
        self._slow = False

    def __enter__(self) -> Self:
        with _only_one():
            sweep()
            try:
                self._make()
            except BaseException:
                self._remove()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def address(self, member: int) -> str:
        """Return the IPv4 address of a member."""
        return f"{self._subnet}.{member + 1}"

    @property
    def client_address(self) -> str:
        """Where clients come from."""
        return f"{self._subnet}.{_CLIENT_HOST}"

    def inside(self, member: int) -> list[str]:
        """Return the words that run a command in a member's namespace.

        They replace themselves by the command, so that it has the process id which was started. It
        dies with the thread that started it.
        """
        return [
            *("nsenter", f"--net={_NAMESPACES / self._namespace(member)}", "--"),
            *("setpriv", "--pdeathsig", "KILL", "--"),
        ]

    def cut(self, member: int, *others: int, to_clients: bool = False) -> None:
        """Drop what a member sends to others, and to clients; what they send still arrives."""
        self._blocked[member] |= {self.address(other) for other in others if other != member}
        if to_clients:
            self._blocked[member].add(self.client_address)
        self._filter(member)

    def partition(self, *sides: Iterable[int]) -> None:
        """Cut every member off from those of other sides, both ways. Clients reach all."""
        groups = [set(side) for side in sides]
        for group in groups:
            for member in group:
                self.cut(member, *(other for side in groups if side is not group for other in side))

    def isolate(self, member: int) -> None:
        """Cut one member off from all others, both ways. Clients reach it."""
        self.partition({member}, set(range(self.count)) - {member})

    def lose(self, share: float) -> None:
        """Lose a share (0 to 1) of the packets that members send to each other."""
        self._loss = share
        for member in range(self.count):
            self._filter(member)

    def slow(self, *members: int) -> str:
        """Delay all that these members send, as far as the kernel can; returns by what means."""
        self._slow = True
        means = ["netem delay 40ms 20ms", "tbf rate 2mbit burst 8k latency 400ms"]
        for position, how in enumerate(means):
            try:
                for member in members:
                    self._qdisc(member, "replace", *how.split())
            except NetworkUnusable:
                if position == len(means) - 1:
                    raise
            else:
                return how
        raise NetworkUnusable("no members to slow down")

    def heal(self) -> None:
        """Let everything pass again."""
        self._loss = 0.0
        for member in range(self.count):
            self._blocked[member].clear()
            self._filter(member)
            if self._slow:
                with contextlib.suppress(NetworkUnusable):  # this one was not slow
                    self._qdisc(member, "del")
        self._slow = False

    def _namespace(self, member: int) -> str:
        return f"{self._name}{member}"

    def _cable(self, member: int) -> str:
        return f"{self._name}v{member}"

    def _filter(self, member: int) -> None:
        peers = {self.address(other) for other in range(self.count) if other != member}
        text = packet_filter.program(self._blocked[member], peers, self._loss)
        _run(
            *("tc", "filter", "replace", "dev", self._cable(member), "ingress"),
            *("prio", "1", "handle", "1", "protocol", "all", "bpf", "da", "bytecode", text),
        )

    def _qdisc(self, member: int, verb: str, *how: str) -> None:
        namespace = self._namespace(member)
        _run("tc", "-n", namespace, "qdisc", verb, "dev", _INTERFACE, "root", *how)

    def _make(self) -> None:
        bridge = f"{self._name}b"
        self._subnet = _free_subnet()
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self.client_address}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for member in range(self.count):
            self._connect(member, bridge)

    def _connect(self, member: int, bridge: str) -> None:
        namespace, cable = self._namespace(member), self._cable(member)
        _run("ip", "netns", "add", namespace)
        _run(
            *("ip", "link", "add", cable, "type", "veth"),
            *("peer", "name", _INTERFACE, "netns", namespace),
        )
        _run("ip", "link", "set", cable, "master", bridge, "up")
        inside = ("ip", "-n", namespace)
        _run(*inside, "addr", "add", f"{self.address(member)}/24", "dev", _INTERFACE)
        _run(*inside, "link", "set", _INTERFACE, "up")
        _run(*inside, "link", "set", "lo", "up")
        _run("tc", "qdisc", "add", "dev", cable, "clsact")

    def _remove(self) -> None:
        _remove_all(self._name)


def sweep() -> None:
    """Remove what runs left behind whose process is gone, their members with it."""
    names = [*_links(), *_namespaces()]
    for owner in {match.group() for name in names if (match := _OWNED.match(name))}:
        pid = int(re.findall(r"\d+", owner)[0])
        if not Path(f"/proc/{pid}").exists():
            _remove_all(owner)


def _remove_all(prefix: str) -> None:
    for namespace in _namespaces():
        if namespace.startswith(prefix):
            for pid in _run("ip", "netns", "pids", namespace).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "del", namespace)
    for link in _links():
        if link.startswith(prefix):
            # The cables go with their namespaces, though not at once.
            with contextlib.suppress(NetworkUnusable):
                _run("ip", "link", "del", link)


def _namespaces() -> list[str]:
    return sorted(path.name for path in _NAMESPACES.iterdir()) if _NAMESPACES.exists() else []


def _links() -> list[str]:
    return [link["ifname"] for link in json.loads(_run("ip", "-json", "link", "show"))]


def _free_subnet() -> str:
    listed = json.loads(_run("ip", "-json", "addr", "show"))
    used = {place["local"] for link in listed for place in link.get("addr_info", [])}
    for subnet in _SUBNETS:
        if f"{subnet}.{_CLIENT_HOST}" not in used:
            return subnet
    raise NetworkUnusable("254 networks are there already")


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Make networks one at a time, so that two runs never choose the same addresses."""
    with _LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
