"""The network of namespaces: cuts have a direction, healing undoes them, crashes leave nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import netns, packet_filter

REASON = netns.why_unusable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

LISTEN = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("0.0.0.0", 7000))
print("bound", flush=True)
while True:
    data, sender = receiver.recvfrom(100)
    print(data.decode(), flush=True)
"""
SEND = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 7000))
"""


class Listener:
    """Receives datagrams in a member's namespace."""

    def __init__(self, network: netns.Network, member: int, directory: Path) -> None:
        self._file = directory / f"listener-{member}"
        with self._file.open("w") as out:
            command = [*network.inside(member), sys.executable, "-c", LISTEN]
            self.process = subprocess.Popen(command, stdout=out)
        self.wait("bound")

    def wait(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.received():
            assert time.monotonic() < deadline, f"{text} did not come"
            time.sleep(0.02)

    def received(self) -> list[str]:
        return self._file.read_text().split()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def network() -> Iterator[netns.Network]:
    with netns.Network(3) as made:
        yield made


def send(network: netns.Network, sender: int, to: int, text: str) -> None:
    arguments = [sys.executable, "-c", SEND, network.address(to), text]
    subprocess.run([*network.inside(sender), *arguments], check=True)


def test_a_cut_has_a_direction(network: netns.Network, tmp_path: Path) -> None:
    listeners = [Listener(network, member, tmp_path) for member in range(3)]
    try:
        network.cut(0, 1)
        send(network, 0, 1, "lost")
        send(network, 0, 2, "to-another")
        send(network, 1, 0, "back")
        listeners[2].wait("to-another")
        listeners[0].wait("back")
        network.heal()
        send(network, 0, 1, "healed")
        listeners[1].wait("healed")
        assert "lost" not in listeners[1].received()
    finally:
        for listener in listeners:
            listener.close()


def test_all_can_be_lost_and_a_share_of_it(network: netns.Network, tmp_path: Path) -> None:
    listener = Listener(network, 1, tmp_path)
    burst = f"for i in range(400): s.sendto(str(i).encode(), ({network.address(1)!r}, 7000))"
    sender = f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n{burst}"
    try:
        network.lose(1.0)
        send(network, 0, 1, "lost")
        network.lose(0.5)
        subprocess.run([*network.inside(0), sys.executable, "-c", sender], check=True)
        network.heal()
        send(network, 0, 1, "last")
        listener.wait("last")
        assert "lost" not in listener.received()
        assert 50 < len(listener.received()) < 350
    finally:
        listener.close()


def test_a_partition_cuts_both_ways_and_clients_reach_everybody(
    network: netns.Network, tmp_path: Path
) -> None:
    listeners = [Listener(network, member, tmp_path) for member in range(3)]
    try:
        network.isolate(1)
        send(network, 1, 0, "lost")
        send(network, 2, 1, "lost")
        send(network, 0, 2, "same-side")
        subprocess.run([sys.executable, "-c", SEND, network.address(1), "client"], check=True)
        listeners[1].wait("client")
        listeners[2].wait("same-side")
        network.heal()
        send(network, 2, 1, "healed")
        listeners[1].wait("healed")
        send(network, 1, 0, "healed")
        listeners[0].wait("healed")
        assert not any("lost" in listener.received() for listener in listeners)
    finally:
        for listener in listeners:
            listener.close()


def test_slow_members_still_reach_others(network: netns.Network, tmp_path: Path) -> None:
    listener = Listener(network, 1, tmp_path)
    try:
        network.slow(0)
        send(network, 0, 1, "late")
        listener.wait("late")
        network.heal()
        send(network, 0, 1, "quick")
        listener.wait("quick")
    finally:
        listener.close()


def test_what_a_killed_run_leaves_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time; from cluster import netns\n"
        "network = netns.Network(2).__enter__()\n"
        "# A member that outlives its parent's death signal.\n"
        "inside = network.inside(0)[:3]\n"
        "child = subprocess.Popen([*inside, 'sleep', '1000'])\n"
        "print(child.pid, flush=True); time.sleep(1000)"
    )
    tests = Path(__file__).parents[1]
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=tests, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    member = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    mark = f"tl{owner.pid}"
    assert any(Path("/run/netns").glob(f"{mark}*"))
    netns.sweep()
    assert not any(Path("/run/netns").glob(f"{mark}*"))
    deadline = time.monotonic() + 20
    while Path(f"/proc/{member}").exists():
        assert time.monotonic() < deadline, "the member lives on"
        time.sleep(0.02)


def test_a_program_names_what_it_drops() -> None:
    assert (
        packet_filter.program([])
        == "5,40 0 0 12,21 1 0 2048,6 0 0 4294967295,32 0 0 30,6 0 0 4294967295"
    )
    blocked = packet_filter.program(["10.0.0.2"])
    assert "21 0 1 167772162,6 0 0 2" in blocked
    assert packet_filter.program([], ["10.0.0.2"], 0.0) == packet_filter.program([])
