"""`tianlu cluster` and `tianlu snapshot` on our own registry: a cluster's life, once through."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from registry.etcd_process import ETCD, free_port
from registry.registry_process import RegistryProcess
from typer.testing import CliRunner, Result

from tianlu._cli import root

LIFE_SECONDS = 300.0
"""For all of it, on a machine that is busy: it takes some twenty."""

pytestmark = pytest.mark.timeout(LIFE_SECONDS)


class Members:
    """Registry processes by name, and what each is started with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.peers = {name: f"http://127.0.0.1:{free_port()}" for name in ("n1", "n2", "n3")}
        self.running: dict[str, RegistryProcess] = {}

    @property
    def initial_cluster(self) -> str:
        return ",".join(f"{name}={url}" for name, url in self.peers.items())

    def start(self, name: str, *flags: str, data_dir: str = "data") -> None:
        """Start a member and wait until it serves; the first ones wait for no leader."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        url = self.peers[name]
        process = RegistryProcess(
            directory,
            f"--name={name}",
            f"--data-dir={directory / data_dir}",  # the last one counts
            f"--listen-peer-urls={url}",
            f"--initial-advertise-peer-urls={url}",
            f"--initial-cluster={self.initial_cluster}",
            # Generous: a leader must not change because the machine is busy.
            "--heartbeat-interval=200",
            "--election-timeout=2000",
            *flags,
        )
        self.running[name] = process
        process.start(deadline_seconds=90)

    def kill(self, name: str) -> None:
        self.running.pop(name).kill()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    members = Members(tmp_path)
    yield members
    for name in list(members.running):
        members.kill(name)


def etcdctl(endpoints: str, *command: str) -> str:
    """Run etcdctl; it writes health to its error output."""
    done = subprocess.run(
        [ETCD.with_name("etcdctl"), f"--endpoints={endpoints}", "--command-timeout=20s", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_the_life_of_a_cluster(
    members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIANLU_TIMEOUT", "20")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(root.app, arguments)

    def data(*arguments: str) -> Any:
        result = run(*arguments, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def once_accepted(*arguments: str) -> Any:
        """Make a change; again while it is refused, as by members that do not know each other
        yet."""
        accepted: list[Result] = []

        def try_it() -> bool:
            result = run(*arguments, "-o", "json")
            accepted.extend([result] if result.exit_code == 0 else [])
            return bool(accepted)

        until(f"{arguments} is accepted", try_it)
        return json.loads(accepted[0].stdout)

    def reached() -> dict[str, Any]:
        """The members that answer and tell where, by name."""
        found = data("cluster", "status")
        return {
            one["member"]["name"]: one["status"]
            for one in found["members"]
            if one["status"] and one["member"]["client_urls"]
        }

    def findings() -> set[str]:
        found = json.loads(run("cluster", "doctor", "-o", "json").stdout)
        # A machine that is busy with other tests may look slow.
        return {one["check"] for one in found["findings"]} - {"disk-slow", "slow-answer"}

    # Three found a cluster.
    for name in members.peers:
        members.start(name)
    monkeypatch.setenv("TIANLU_ENDPOINTS", members.running["n1"].target)
    until("all are reached", lambda: set(reached()) == {"n1", "n2", "n3"})
    until("all follow one leader", lambda: findings() == set())
    assert data("kv", "put", "greeting", "hello")["revision"] == 2

    # Leadership moves.
    moved = once_accepted("cluster", "transfer-leader")
    assert moved["leader_before"]["id"] != moved["leader"]["id"]
    until("the new one leads", lambda: data("cluster", "status")["leader"] == moved["leader"]["id"])

    # etcdctl finds the leader, and hashes that agree.
    targets = ",".join(process.target for process in members.running.values())
    target = moved["leader_before"]["id"]
    assert f"to {target}\n" in etcdctl(targets, "move-leader", target)
    hashes = etcdctl(targets, "endpoint", "hashkv").splitlines()
    assert len({line.split(", ")[1] for line in hashes}) == 1
    assert etcdctl(targets, "endpoint", "health").count("is healthy") == 3

    # A fourth learns, and gets a vote in place of the third.
    url = f"http://127.0.0.1:{free_port()}"
    added = once_accepted("cluster", "member", "add", "n4", "--peer-urls", url, "--learner")
    assert added["start_with"]["initial_cluster"].count(",") == 3
    until("all know of it", lambda: findings() == {"never-started"})
    members.peers["n4"] = url
    members.start("n4", "--initial-cluster-state=existing")
    until("the learner is ready", lambda: findings() == {"learner-ready"})
    once_accepted("cluster", "member", "promote", "n4")
    until("all know of it", lambda: findings() == {"even-voters"})
    once_accepted("cluster", "member", "remove", "n3")
    until("the removed one has gone", lambda: set(reached()) == {"n1", "n2", "n4"})
    until("all is well", lambda: findings() == set())

    # A snapshot, and two of three are lost.
    file = tmp_path / "backup.db"
    saved = data("snapshot", "save", str(file))
    assert data("snapshot", "verify", str(file))["sha256"] == saved["sha256"]
    for name in ("n2", "n4"):
        members.kill(name)
    until("the doctor sees it", lambda: "no-leader" in findings())
    assert "no leader: 2 of 3 voters do not answer" in run("cluster", "doctor").stdout

    # The snapshot begins a new cluster.
    members.kill("n1")
    members.peers = {"n1": members.peers["n1"]}
    data_dir = tmp_path / "n1" / "restored"
    settings = ("--initial-cluster", members.initial_cluster, "--initial-cluster-token", "second")
    address = ("--initial-advertise-peer-urls", members.peers["n1"])
    data("snapshot", "restore", str(file), "--name", "n1", "--data-dir", str(data_dir),
         *settings, *address)  # fmt: skip
    members.start("n1", "--initial-cluster-token=second", data_dir="restored")
    monkeypatch.setenv("TIANLU_ENDPOINTS", members.running["n1"].target)
    until("it leads", lambda: findings() == {"one-voter"})
    (kept,) = data("kv", "get", "greeting")["items"]
    assert (kept["value"], kept["mod_revision"]) == ("hello", 2)
