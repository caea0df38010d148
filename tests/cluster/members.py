"""A cluster of real members, each in its own namespace, and what can be done to them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from cluster.client import CallFailed, Client
from cluster.netns import Network
from cluster.processes import ProcessTree, wait_for
from cluster.systems import MemberPlan, System, peer_url

from tianlu._proto.etcd import rpc_pb2

HEALTH_SECONDS = 120.0
"""Until a healed cluster must be whole again: far more than it takes, on a machine that is busy."""

T = TypeVar("T")


@dataclass
class Member:
    """One member: its place, its files and, while it runs, its processes.

    Attributes:
        number: of its namespace, from 0.
        exits: how often it ended without having been told to.
    """

    number: int
    plan: MemberPlan
    directory: Path
    processes: ProcessTree | None = None
    paused: bool = False
    clock_shift_seconds: int = 0
    mounted: bool = False
    exits: int = 0

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def disk(self) -> Path:
        """Where its data lie: the root of its own file system when it has one."""
        return self.directory / f"{self.name}-disk"


@dataclass
class Cluster:
    """Members of one system. Use as a context manager, from one thread: members die with it.

    Args:
        network: with a namespace for every member, spare ones included.
        directory: for data, logs and run files.
        size: members at the beginning; the other namespaces are spare.
        disk_megabytes: gives every member a file system of this size; 0 for none of its own.
    """

    system: System
    network: Network
    directory: Path
    size: int = 3
    disk_megabytes: int = 0
    snapshot_count: int = 0
    members: dict[int, Member] = field(default_factory=dict)
    _clients: dict[int, Client] = field(default_factory=dict)

    def __enter__(self) -> Self:
        founders = {f"n{n + 1}": peer_url(self.network.address(n)) for n in range(self.size)}
        try:
            for number in range(self.size):
                self._add(number, founders, joins=False)
                self.start(number)
            self.wait_healthy()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def client(self, number: int) -> Client:
        """Return the cluster's own client of a member, for questions about the cluster."""
        if number not in self._clients:
            self._clients[number] = Client(self.network.address(number))
        return self._clients[number]

    def addresses(self) -> list[str]:
        """Return the addresses of all members, running or not."""
        return [self.network.address(number) for number in sorted(self.members)]

    # What is done to members.

    def start(self, number: int) -> None:
        """Start a member; `wait_healthy` says when it serves."""
        member = self.members[number]
        member.plan.run_file.unlink(missing_ok=True)
        shift = member.clock_shift_seconds
        within = ["unshare", "--time", f"--monotonic={shift}", f"--boottime={shift}", "--fork"]
        command = [
            *self.network.inside(number),
            *([*within, "--kill-child", "--"] if shift else []),
            *self.system.command(member.plan),
        ]
        member.processes = ProcessTree(command, member.log)
        member.paused = False

    def kill(self, number: int) -> None:
        """End a member by SIGKILL. Harmless when it does not run."""
        member = self.members[number]
        if member.processes is not None:
            self._note_exit(member)
            member.processes.kill()
            member.processes = None

    def stop(self, number: int) -> int:
        """Stop a member in order; return its exit status."""
        member = self.members[number]
        assert member.processes is not None
        self._note_exit(member)
        try:
            return member.processes.stop()
        finally:
            member.processes = None

    def pause(self, number: int) -> None:
        """SIGSTOP to all of a member's processes."""
        member = self.members[number]
        assert member.processes is not None
        member.processes.pause()
        member.paused = True

    def resume(self, number: int) -> None:
        member = self.members[number]
        if member.paused and member.processes is not None:
            member.processes.resume()
        member.paused = False

    def wipe(self, number: int) -> None:
        """Remove all that a member has stored. It must not run."""
        member = self.members[number]
        assert member.processes is None
        shutil.rmtree(member.plan.data_dir, ignore_errors=True)

    def fill_disk(self, number: int, rest_bytes: int = 0) -> None:
        """Fill a member's own file system but for a rest."""
        member = self.members[number]
        free = shutil.disk_usage(member.disk).free
        with (member.disk / "ballast").open("ab") as ballast:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while free > rest_bytes + size:
                        ballast.write(b"\0" * size)
                        ballast.flush()
                        free = shutil.disk_usage(member.disk).free

    def free_disk(self, number: int) -> None:
        (self.members[number].disk / "ballast").unlink(missing_ok=True)

    def revive(self) -> None:
        """Undo all faults of members: continue what is paused, start what does not run."""
        for number, member in sorted(self.members.items()):
            if member.mounted:
                self.free_disk(number)
            self.resume(number)
            if member.processes is None or not member.processes.is_running():
                self.kill(number)
                self.start(number)

    def join(self, number: int) -> None:
        """Add a member in a spare namespace to the running cluster and start it."""
        url = peer_url(self.network.address(number))
        # Refused, as etcd does it, until those who are there know each other to be well.
        added: rpc_pb2.MemberAddResponse = self.ask_until_answered(
            lambda client: client.call(
                "Cluster/MemberAdd", rpc_pb2.MemberAddRequest(peerURLs=[url]), 10
            ),
            done=lambda client: _listed(client, url),
        )
        founders = {member.name or f"n{number + 1}": member.peerURLs[0] for member in added.members}
        self._add(number, founders, joins=True)
        self.start(number)

    def remove(self, number: int) -> None:
        """Remove a member from the cluster, then end its processes."""
        url = peer_url(self.network.address(number))

        def drop(client: Client) -> object:
            listed = client.call("Cluster/MemberList", rpc_pb2.MemberListRequest(linearizable=True))
            found = [member.ID for member in listed.members if url in member.peerURLs]
            for identifier in found:
                client.call("Cluster/MemberRemove", rpc_pb2.MemberRemoveRequest(ID=identifier), 10)
            return found

        self.ask_until_answered(drop, but=number)
        member = self.members.pop(number)
        if member.processes is not None:
            member.processes.kill()  # a removed member may have ended by itself
        self._unmount(member)

    # What is asked of the cluster.

    def leader(self) -> int | None:
        """Return the member that the highest term calls its leader; None when nobody knows one."""
        terms: dict[int, tuple[int, int]] = {}
        identities: dict[int, int] = {}
        for number in self.running():
            with contextlib.suppress(CallFailed):
                status = self.client(number).status(1.0)
                identities[status.header.member_id] = number
                if status.leader:
                    terms[number] = (status.raftTerm, status.leader)
        _, leader = max(terms.values(), default=(0, 0))
        return identities.get(leader)

    def wait_leader(self, seconds: float = HEALTH_SECONDS) -> int:
        found: list[int] = []

        def ask() -> bool:
            leader = self.leader()
            found[:] = [] if leader is None else [leader]
            return bool(found)

        wait_for("a leader", ask, seconds)
        return found[0]

    def running(self) -> list[int]:
        """Return the members that should answer: started and not paused."""
        return [n for n, m in sorted(self.members.items()) if m.processes and not m.paused]

    def wait_healthy(
        self, numbers: Iterable[int] | None = None, seconds: float = HEALTH_SECONDS
    ) -> None:
        """Wait until members answer a linearizable read and name the same leader.

        Raises:
            TimeoutError: they did not; with what each said last, and the end of the logs.
        """
        wanted = sorted(self.members if numbers is None else numbers)
        said: dict[int, str] = {}
        try:
            wait_for("members", lambda: self._are_healthy(wanted, said), seconds)
        except TimeoutError as error:
            logs = "\n".join(f"--- {self.members[n].name}\n{self._log_end(n)}" for n in wanted)
            raise TimeoutError(f"{error}: {said}\n{logs}") from None

    def _are_healthy(self, wanted: list[int], said: dict[int, str]) -> bool:
        leaders = set()
        for number in wanted:
            processes = self.members[number].processes
            if processes is None or not processes.is_running():
                said[number] = "does not run"
                return False
            try:
                self.client(number).get("health")
                status = self.client(number).status()
            except CallFailed as error:
                said[number] = str(error)
                return False
            said[number] = f"leader {status.leader:x}, term {status.raftTerm}"
            leaders.add(status.leader)
        return len(leaders) == 1 and leaders != {0}

    def ask_until_answered(
        self,
        question: Callable[[Client], T],
        done: Callable[[Client], T | None] | None = None,
        but: int | None = None,
    ) -> T:
        """Ask members in turn until one answers.

        Args:
            done: asked first: an answer of its own when an earlier question had its effect though
                its answer was lost.
            but: a member that is not asked.
        """
        answers: list[T] = []
        errors: list[str] = []

        def ask() -> bool:
            for number in [n for n in self.running() if n != but]:
                try:
                    early = done(self.client(number)) if done else None
                    answers.append(question(self.client(number)) if early is None else early)
                except CallFailed as error:
                    errors.append(f"{number}: {error}")
                else:
                    return True
            return False

        try:
            wait_for("an answer", ask, HEALTH_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {errors[-5:]}") from None
        return answers[0]

    def exits(self) -> dict[str, int]:
        """Return how often members ended without having been told to."""
        for member in self.members.values():
            self._note_exit(member)
        return {member.name: member.exits for member in self.members.values() if member.exits}

    # Making and unmaking.

    def _add(self, number: int, founders: dict[str, str], *, joins: bool) -> None:
        name = f"n{number + 1}"
        member = Member(
            number,
            MemberPlan(
                name=name,
                address=self.network.address(number),
                data_dir=self.directory / f"{name}-disk" / "data",
                run_file=self.directory / f"{name}.run.json",
                founders=founders,
                joins=joins,
                snapshot_count=self.snapshot_count,
            ),
            self.directory,
        )
        member.disk.mkdir(exist_ok=True)
        if self.disk_megabytes:
            how = f"size={self.disk_megabytes}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", member.disk], check=True)
            member.mounted = True
        member.plan.data_dir.mkdir(mode=0o700, exist_ok=True)
        self.members[number] = member

    @staticmethod
    def _note_exit(member: Member) -> None:
        if member.processes is not None and not member.processes.is_running():
            member.exits += 1
            member.processes = None

    def _log_end(self, number: int, size: int = 2_000) -> str:
        log = self.members[number].log
        return log.read_text(errors="replace")[-size:] if log.exists() else "no log"

    def _unmount(self, member: Member) -> None:
        if member.mounted:
            subprocess.run(["umount", "--lazy", member.disk], check=False)
            member.mounted = False
        shutil.rmtree(member.disk, ignore_errors=True)

    def _close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        for member in self.members.values():
            if member.processes is not None:
                member.processes.kill()
                member.processes = None
            if member.mounted:
                self._unmount(member)


def _listed(client: Client, url: str) -> rpc_pb2.MemberAddResponse | None:
    """Return an answer as of the addition if a member with this peer URL is there already."""
    listed = client.call("Cluster/MemberList", rpc_pb2.MemberListRequest(linearizable=True))
    if not any(url in member.peerURLs for member in listed.members):
        return None
    return rpc_pb2.MemberAddResponse(members=listed.members)
