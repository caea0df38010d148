"""`tianlu snapshot verify` and `restore`: a node's state becomes another cluster's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from registry.node.nodes import running, small
from typer.testing import CliRunner, Result

from tianlu._cli import root
from tianlu._proto.etcd.rpc_pb2 import LeaseGrantRequest, PutRequest, RangeRequest
from tianlu_registry.storage.backend import LmdbBackend
from tianlu_registry.storage.snapshot_file import SnapshotWriter, chunks

EVERYTHING = RangeRequest(key=b"\0", range_end=b"\0")
PEERS = {name: f"http://127.0.0.1:{port}" for name, port in (("a", 1), ("b", 2), ("c", 3))}
CLUSTER = ",".join(f"{name}={url}" for name, url in PEERS.items())


@pytest.fixture
async def snapshot(tmp_path: Path) -> Path:
    """A snapshot of a node with three keys, one of them with a lease and one written twice."""
    config = small(tmp_path / "old")
    async with running(config) as node:
        await node.store.lease_grant(LeaseGrantRequest(ID=77, TTL=600))
        for key in (b"a", b"b", b"c", b"a"):
            await node.store.put(PutRequest(key=key, value=b"value of " + key, lease=77))
    backend = LmdbBackend.open(config.data_dir / "member" / "db")
    backend.hot_copy(tmp_path / "copy")
    backend.close()
    file = tmp_path / "backup.db"
    with SnapshotWriter(file) as writer:
        for piece in chunks(tmp_path / "copy"):
            writer.write(piece)
        writer.finish()
    return file


def snapshot_command(*arguments: object) -> Result:
    return CliRunner().invoke(root.app, ["snapshot", *map(str, arguments)])


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_verify_says_what_a_snapshot_holds(snapshot: Path) -> None:
    found = data(snapshot_command("verify", snapshot, "-o", "json"))
    assert (found["keys"], found["records"], found["leases"]) == (3, 4, 1)
    assert found["revision"] == 5
    assert found["sha256"] == snapshot.read_bytes()[-32:].hex()
    assert found["index"] > 5
    header, row = snapshot_command("verify", snapshot).stdout.splitlines()
    assert header.split()[:3] == ["HASH", "REVISION", "KEYS"]
    assert row.split()[1:3] == ["5", "3"]


async def test_a_restored_member_goes_on(snapshot: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    restored = data(
        snapshot_command(
            "restore", snapshot, "--data-dir", new, "--initial-cluster-token", "t2", "-o", "json"
        )
    )
    async with running(small(new, cluster_token="t2")) as node:
        assert f"{node.node.identity.member_id:x}" == restored["member_id"]
        found = await node.store.range(EVERYTHING)
        assert [pair.key for pair in found.kvs] == [b"a", b"b", b"c"]
        assert (found.header.revision, found.kvs[0].version, found.kvs[0].lease) == (5, 2, 77)
        put = await node.store.put(PutRequest(key=b"d"))
        assert put.header.revision == 6
        assert put.header.raft_term > restored["term"]


def test_members_of_one_cluster_are_restored_apart(snapshot: Path, tmp_path: Path) -> None:
    """Each with its own id; all in the same new cluster."""
    restored = []
    for name, url in PEERS.items():
        arguments = ("--name", name, "--data-dir", tmp_path / name)
        cluster = ("--initial-cluster", CLUSTER, "--initial-advertise-peer-urls", url)
        restored.append(
            data(snapshot_command("restore", snapshot, *arguments, *cluster, "-o", "json"))
        )
    assert len({one["member_id"] for one in restored}) == 3
    assert len({one["cluster_id"] for one in restored}) == 1


async def test_what_is_restored_belongs_to_its_settings(snapshot: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert snapshot_command("restore", snapshot, "--data-dir", new).exit_code == 0
    with pytest.raises(Exception, match="Give the settings it was made with"):
        async with running(small(new, cluster_token="another")):
            pass


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-1], "incomplete"),
        (lambda content: content[:9000] + b"x" + content[9001:], "damaged"),
        (lambda content: b"nothing of the kind", "not a snapshot"),
    ],
)
def test_damage_is_refused(snapshot: Path, tmp_path: Path, damage: Any, problem: str) -> None:
    snapshot.write_bytes(damage(snapshot.read_bytes()))
    verified = snapshot_command("verify", snapshot)
    assert verified.exit_code in {1, 2}
    assert verified.stderr.startswith("tianlu: ")
    assert problem in verified.stderr
    assert verified.stderr.count("\n") == 1
    assert snapshot_command("restore", snapshot, "--data-dir", tmp_path / "new").exit_code != 0
    assert not (tmp_path / "new" / "member").exists()


def test_wrong_usage(snapshot: Path, tmp_path: Path) -> None:
    full = tmp_path / "old"
    for arguments, problem in (
        (("restore", snapshot, "--data-dir", full), "--data-dir: "),
        (("restore", snapshot, "--name", "x", "--initial-cluster", CLUSTER), "--initial-cluster: "),
        (("restore", snapshot, "--initial-advertise-peer-urls", "x"),
         "--initial-advertise-peer-urls: "),
        (("verify", tmp_path / "none"), "FILE: "),
    ):  # fmt: skip
        result = snapshot_command(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr.startswith(f"tianlu: {problem}"), result.stderr
