"""`tianlu cluster` and `tianlu snapshot save` against three real etcd members."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from registry.etcd_process import ETCD, free_port
from registry.etcd_trio import EtcdTrio
from typer.testing import CliRunner, Result

from tianlu._cli import root
from tianlu._cluster import node
from tianlu._cluster.node import Nodes
from tianlu._cluster.snapshot_save import save_snapshot
from tianlu._endpoint import parse_endpoints
from tianlu._errors import ProtocolError
from tianlu._proto.etcd import rpc_pb2 as etcd

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdTrio]:
    trio = EtcdTrio(tmp_path_factory.mktemp("cli-trio"))
    trio.start()
    yield trio
    trio.kill()


@pytest.fixture
def run(trio: EtcdTrio, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command, with one member as endpoint: the others must be found."""
    monkeypatch.setenv("TIANLU_ENDPOINTS", trio.members[0].endpoint)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(root.app, arguments)

    return invoke


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def once_healthy(command: Callable[[], Result]) -> Result:
    """etcd changes its members only after all have been connected for five seconds."""
    deadline = time.monotonic() + 30
    while True:
        result = command()
        if "unhealthy cluster" not in result.stderr or time.monotonic() > deadline:
            return result
        time.sleep(0.1)


def test_status_finds_all_members(run: Run, trio: EtcdTrio) -> None:
    lines = run("cluster", "status").stdout.splitlines()
    assert lines[0].split("  ")[0] == "ENDPOINT"
    rows = {line.split()[2]: line.split() for line in lines[1:]}
    assert set(rows) == {"one", "two", "three"}
    assert rows["two"][0] == trio.members[1].endpoint
    assert sum("yes" in row for row in rows.values()) == 1  # one leads
    found = data(run("cluster", "status", "--output", "json"))
    assert found["leader"] in {member["member"]["id"] for member in found["members"]}
    assert all(member["status"]["index"] > 0 for member in found["members"])


def test_ids_are_etcdctls(run: Run, trio: EtcdTrio) -> None:
    listed = subprocess.run(
        [ETCD.with_name("etcdctl"), f"--endpoints={trio.endpoints}", "member", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    theirs = {line.split(", ")[2]: line.split(", ")[0] for line in listed.stdout.splitlines()}
    ours = yaml.safe_load(run("cluster", "member", "list", "-o", "yaml").stdout)
    assert {member["name"]: member["id"] for member in ours["members"]} == theirs


def test_leadership_is_handed_over(run: Run) -> None:
    for name in ("one", "two", "three"):
        leader = data(run("cluster", "status", "-o", "json"))["leader"]
        result = run("cluster", "transfer-leader", name, "-o", "json")
        if result.exit_code:
            assert "leads already" in result.stderr
            continue
        done = data(result)
        assert (done["leader_before"]["id"], done["leader"]["name"]) == (leader, name)
    done = data(run("cluster", "transfer-leader", "-o", "json"))  # to whoever follows best
    assert done["leader"]["name"] != done["leader_before"]["name"]


def test_members_come_and_go(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    added = once_healthy(
        lambda: run("cluster", "member", "add", "four", "--peer-urls", url, "--learner")
    )
    assert added.exit_code == 0, added.output
    assert f"four={url}" in added.stdout
    assert "  --initial-cluster-state=existing\n" in added.stdout
    assert "tianlu cluster member promote" in added.stdout
    listed = data(run("cluster", "member", "list", "-o", "json"))["members"]
    assert listed[-1]["name"] == ""  # not started yet, listed last
    id_ = listed[-1]["id"]

    doctor = run("cluster", "doctor")
    assert doctor.exit_code == 1
    assert f"a learner was added and has never started: {id_}" in doctor.stdout

    promoted = run("cluster", "member", "promote", id_)
    assert promoted.exit_code == 1
    assert "in sync with leader" in promoted.stderr
    other = f"http://127.0.0.1:{free_port()}"
    updated = data(run("cluster", "member", "update", id_, "--peer-urls", other, "-o", "json"))
    assert updated["member"]["peer_urls"] == [other]
    removed = once_healthy(lambda: run("cluster", "member", "remove", id_))
    assert removed.exit_code == 0, removed.output
    assert id_ not in removed.stdout


def test_wrong_usage(run: Run) -> None:
    unknown = run("cluster", "member", "remove", "nobody")
    assert unknown.exit_code == 1
    assert "member 'nobody': not in the cluster; its members are one (" in unknown.stderr
    no_url = run("cluster", "member", "add", "x", "--peer-urls", "10.0.0.4:2380")
    assert no_url.exit_code == 2
    assert "--peer-urls: '10.0.0.4:2380' is no URL" in no_url.stderr


def test_the_doctor_of_a_whole_cluster(run: Run, trio: EtcdTrio) -> None:
    result = run("cluster", "doctor", "-o", "json")
    found = json.loads(result.stdout)
    # A machine that is busy with other tests may look slow.
    assert {one["check"] for one in found["findings"]} <= {"disk-slow", "slow-answer"}
    assert found["summary"].partition(": ")[2].startswith("3 of 3 voters answer, ")


def test_snapshot(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    saved = data(run("snapshot", "save", str(file), "-o", "json"))
    content = file.read_bytes()
    assert saved["bytes"] == len(content)
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert saved["sha256"] == content[-32:].hex()
    assert file.stat().st_mode & 0o777 == 0o600
    refused = run("snapshot", "save", str(file))
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert run("snapshot", "save", str(file), "--force").exit_code == 0
    lost = run("snapshot", "save", str(tmp_path / "none" / "backup.db"))
    assert lost.exit_code == 1
    assert "No such file or directory" in lost.stderr
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([(b"data", 40), (b"more", 36)], "ended early"),
        ([(b"data", 0), (bytes(32), 0)], "does not match its digest"),
        ([(bytes(32), 0)], "ended early"),
        ([], "ended early"),
    ],
)
async def test_a_broken_snapshot_leaves_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pieces: list[tuple[bytes, int]],
    problem: str,
) -> None:
    async def call(*_: object) -> Any:
        return etcd.StatusResponse()

    async def stream(*_: object) -> Any:
        for blob, remaining in pieces:
            yield etcd.SnapshotResponse(blob=blob, remaining_bytes=remaining)

    monkeypatch.setattr(node.Nodes, "call", call)
    monkeypatch.setattr(node.Nodes, "stream", stream)
    async with Nodes(1.0) as nodes:
        with pytest.raises(ProtocolError, match=problem):
            await save_snapshot(nodes, parse_endpoints("a:1"), tmp_path / "x.db")
    assert list(tmp_path.iterdir()) == []


def test_without_a_quorum(run: Run, trio: EtcdTrio) -> None:
    """Last in this file: two members are killed."""
    for member in trio.members[1:]:
        member.kill()
    deadline = time.monotonic() + 30
    while data(run("cluster", "status", "-o", "json"))["leader"] is not None:
        assert time.monotonic() < deadline
    status = run("cluster", "status").stdout
    assert status.count("connection refused") == 2
    assert "no leader" in status
    doctor = run("cluster", "doctor")
    assert doctor.exit_code == 2
    assert "no leader: 2 of 3 voters do not answer; 2 are needed" in doctor.stdout
    assert "restart one alone with --force-new-cluster" in doctor.stdout
    refused = run("cluster", "transfer-leader")
    assert refused.exit_code == 3
    assert "has no leader" in refused.stderr
    trio.members[0].kill()
    nobody = run("cluster", "doctor")
    assert nobody.exit_code == 2
    assert "the endpoint does not answer from here" in nobody.stdout
    assert run("cluster", "status").exit_code == 3
