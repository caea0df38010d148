"""The systems that can be put to the proof, each as the command line of one member."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CLIENT_PORT, PEER_PORT = 2379, 2380


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """What a member is started with.

    Attributes:
        name: unique in its cluster.
        address: its IPv4 address.
        data_dir: where its state lies.
        run_file: written by systems that say so when they serve.
        founders: peer URL by name, of all members that it shall know when it has no state.
        joins: whether it joins a cluster that is there already.
        heartbeat_milliseconds: leader to followers.
        election_milliseconds: without a heartbeat, until a follower stands for election.
        snapshot_count: applied entries between two raft snapshots; 0 for the system's default.
    """

    name: str
    address: str
    data_dir: Path
    run_file: Path
    founders: Mapping[str, str]
    joins: bool = False
    heartbeat_milliseconds: int = 100
    election_milliseconds: int = 1000
    snapshot_count: int = 0


@dataclass(frozen=True, slots=True)
class System:
    """A system under test.

    Attributes:
        name: as on the command line of the proof.
        program: the words before its flags.
        own_flags: those that it does not share with the other.
    """

    name: str
    program: tuple[str, ...]
    own_flags: Callable[[MemberPlan], list[str]]

    def command(self, plan: MemberPlan) -> list[str]:
        """Return the command line that starts a member."""
        client, peer = client_url(plan.address), peer_url(plan.address)
        flags = {
            "name": plan.name,
            "data-dir": str(plan.data_dir),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"{name}={url}" for name, url in plan.founders.items()),
            "initial-cluster-state": "existing" if plan.joins else "new",
            "initial-cluster-token": "proof",
            "heartbeat-interval": str(plan.heartbeat_milliseconds),
            "election-timeout": str(plan.election_milliseconds),
        }
        if plan.snapshot_count:
            flags["snapshot-count"] = str(plan.snapshot_count)
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        return [*self.program, *words, *self.own_flags(plan)]


def client_url(address: str) -> str:
    return f"http://{address}:{CLIENT_PORT}"


def peer_url(address: str) -> str:
    return f"http://{address}:{PEER_PORT}"


def _etcd_flags(_plan: MemberPlan) -> list[str]:
    return ["--log-level", "warn", "--strict-reconfig-check"]


def _tianlu_flags(plan: MemberPlan) -> list[str]:
    return ["--run-file", str(plan.run_file), "--allow-insecure-listen"]


SYSTEMS = {
    "etcd": System("etcd", (str(Path(sys.executable).parent / "etcd"),), _etcd_flags),
    "tianlu": System("tianlu", (sys.executable, "-m", "tianlu", "registry"), _tianlu_flags),
}
