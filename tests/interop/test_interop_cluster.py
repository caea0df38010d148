"""etcdctl's cluster and maintenance commands do and print the same against etcd and Tianlu.

Both are clusters of one that may grow; what was added never runs, so learners only: a voter that
does not run takes the quorum away.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from interop.interop_servers import ETCDCTL, Server
from registry.etcd_process import EtcdProcess, free_port
from registry.registry_process import RegistryProcess

JSON = "--write-out=json"

_UNEQUAL = frozenset(
    {
        "leader",
        "raftIndex",
        "raftTerm",
        "raftAppliedIndex",
        "dbSizeInUse",
        "version",
        "took",
        "hash",
    }
)
"""Fields, beyond those that no two servers share, that depend on time or release."""

_NEWER = frozenset({"dbSizeQuota", "storageVersion", "downgradeInfo", "hash_revision"})
"""Fields that etcd 3.5 does not know."""


_TIMES_AND_PLACES = r"took = \S+|\"RaftTerm\" : \d+|127\.0\.0\.1:\d+|\b\d{5,}\b|\b[0-9a-f]{12,16}\b"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    etcd = EtcdProcess(tmp_path_factory.mktemp("cluster-etcd"))
    peer = f"http://127.0.0.1:{free_port()}"
    tianlu = RegistryProcess(
        tmp_path_factory.mktemp("cluster-tianlu"),
        "--name=test",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
        "--log-level=warn",
    )
    try:
        etcd.start()
        tianlu.start()
        both = (
            Server("etcd", etcd.endpoint.removeprefix("http://")),
            Server("tianlu", tianlu.target),
        )
        for server in both:
            server.etcdctl("put", "something", "to hash")
            wait_until_published(server)
        yield both
    finally:
        etcd.kill()
        tianlu.kill()


def wait_until_published(server: Server) -> None:
    """Wait until the member list says where clients reach the member."""
    deadline = time.monotonic() + 20
    while server.target not in server.etcdctl("member", "list").output:
        assert time.monotonic() < deadline


def unstarted(server: Server) -> list[str]:
    """Return the ids of members that were added and do not run."""
    listed = server.etcdctl("member", "list").output.splitlines()
    return [line.split(", ")[0] for line in listed if line.split(", ")[1] == "unstarted"]


def both(servers: tuple[Server, Server], *command: str) -> tuple[Any, Any]:
    """Run a command on both and return what is comparable of the answers."""
    etcd, tianlu = (comparable(server.etcdctl(*command).comparable(server)) for server in servers)
    return etcd, tianlu


def comparable(value: Any) -> Any:
    """Return an answer without addresses, ids, times and what is newer than etcd 3.5; in an order
    that does not hang on ids."""
    if isinstance(value, dict):
        return {
            name: f"<{name}>" if name in _UNEQUAL else comparable(each)
            for name, each in value.items()
            if name not in _NEWER
        }
    if isinstance(value, list | tuple):
        each_one = [comparable(each) for each in value]
        is_members = bool(each_one) and all(isinstance(e, dict) and "ID" in e for e in each_one)
        return sorted(each_one, key=str) if is_members else each_one
    if isinstance(value, str):
        return "\n".join(sorted(_line(line) for line in value.splitlines()))
    return value


def _line(line: str) -> str:
    shared = re.sub(_TIMES_AND_PLACES, "<>", line)
    name, equals, members = shared.partition("=")
    if name != "ETCD_INITIAL_CLUSTER":
        return shared
    return name + equals + ",".join(sorted(members.strip('"').split(",")))


CHANGES: list[list[str]] = [
    ["member", "list"],
    ["member", "list", JSON],
    ["member", "list", "--write-out=fields"],
    ["member", "add", "x"],
    ["member", "add", "x", "--peer-urls=nonsense"],
    ["member", "add", "x", "--peer-urls=http://10.0.0.1"],
    ["member", "add", "x", "--learner", "--peer-urls={own_peer_url}"],
    ["member", "add", "x", "--learner", "--peer-urls=http://127.0.0.1:2,http://127.0.0.1:1"],
    ["member", "list"],
    ["member", "list", JSON],
    ["member", "add", "y", "--learner", "--peer-urls=http://127.0.0.1:3"],
    ["member", "update", "{learner}", "--peer-urls={own_peer_url}"],
    ["member", "list", JSON],
    ["member", "promote", "{learner}"],
    ["member", "promote", "{self}"],
    ["member", "promote", "1234"],
    ["member", "update", "1234", "--peer-urls=http://127.0.0.1:5"],
    ["member", "remove", "1234"],
    ["member", "remove", "zz"],
    ["move-leader", "1234"],
    ["move-leader", "{learner}"],
    ["move-leader", "{self}"],
    ["member", "remove", "{learner}"],
    ["member", "remove", "{learner}"],
    ["member", "remove", "{self}"],
    ["member", "list", JSON],
    ["member", "update", "{self}", "--peer-urls=http://127.0.0.1:4"],
    ["member", "list", JSON],
    ["member", "update", "{self}", "--peer-urls={own_peer_url}"],
]
"""No learner is updated: etcd 3.5.1 forgets that it is one (docs/divergence.md)."""


def test_same_membership(servers: tuple[Server, Server]) -> None:
    for server in servers:
        listed = server.etcdctl("member", "list").output.split(", ")
        server.remembered |= {"self": listed[0], "own_peer_url": listed[3]}
    for command in CHANGES:
        etcd, tianlu = both(servers, *command)
        assert tianlu == etcd, command
        if "--learner" in command:
            for server in servers:
                added = unstarted(server)
                server.remembered["learner"] = added[0] if added else "none"


@pytest.mark.parametrize(
    "command",
    [
        ["endpoint", "status", JSON],
        ["endpoint", "status", "--cluster", JSON],
        ["endpoint", "health"],
        ["endpoint", "health", "--cluster"],
        ["endpoint", "hashkv", JSON],
        ["alarm", "list"],
        ["alarm", "disarm"],
        ["defrag"],
        ["defrag", "--cluster"],
    ],
)
def test_same_maintenance(servers: tuple[Server, Server], command: list[str]) -> None:
    etcd, tianlu = both(servers, *command)
    assert tianlu == etcd


def test_same_hashes_of_the_same_keys_twice(servers: tuple[Server, Server]) -> None:
    """etcd's hash is of its own records, so only what changes it can be compared."""
    for server in servers:
        seen = []
        for value in ("1", "2", None):
            if value is not None:
                server.etcdctl("put", "hash", value)
            seen.append(server.etcdctl("endpoint", "hashkv").output)
        assert seen[0] != seen[1]
        assert seen[1] == seen[2]


def test_same_snapshot(servers: tuple[Server, Server], tmp_path: Path) -> None:
    """etcdctl checks that the file ends with a digest: its size is 32 more than a multiple of
    512."""
    for server in servers:
        file = tmp_path / server.name
        done = server.etcdctl("snapshot", "save", str(file))
        assert (done.status, done.output) == (0, f"Snapshot saved at {file}\n"), done.errors
        assert file.stat().st_size % 512 == 32


def test_etcdctl_says_that_our_snapshot_is_none_of_etcds(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    file = tmp_path / "ours"
    servers[1].etcdctl("snapshot", "save", str(file))
    read = subprocess.run(
        [ETCDCTL, "snapshot", "status", str(file)], capture_output=True, text=True, timeout=20
    )
    assert read.returncode != 0
    assert "invalid database" in read.stderr


REQUESTS: list[tuple[str, str]] = [
    ("cluster/member/list", "{}"),
    ("cluster/member/list", '{"linearizable":true}'),
    ("cluster/member/add", "{}"),
    ("cluster/member/add", '{"peerURLs":["http://a"]}'),
    ("cluster/member/remove", '{"ID":"5"}'),
    ("cluster/member/update", '{"ID":"5","peerURLs":["http://127.0.0.1:6"]}'),
    ("cluster/member/promote", '{"ID":"5"}'),
    ("maintenance/status", "{}"),
    ("maintenance/alarm", "{}"),
    ("maintenance/alarm", '{"action":"ACTIVATE","memberID":"9","alarm":"NOSPACE"}'),
    ("maintenance/alarm", '{"action":"GET","alarm":"NOSPACE"}'),
    ("maintenance/alarm", '{"action":"DEACTIVATE","memberID":"9","alarm":"NOSPACE"}'),
    ("maintenance/alarm", '{"action":"DEACTIVATE","memberID":"9","alarm":"NOSPACE"}'),
    ("maintenance/transfer-leadership", '{"targetID":"5"}'),
    ("maintenance/defragment", "{}"),
    ("maintenance/downgrade", '{"version":"3.4.0"}'),
    ("maintenance/downgrade", '{"version":"3.4"}'),
    ("maintenance/downgrade", '{"version":"3.5.0"}'),
    ("maintenance/downgrade", '{"version":"3"}'),
    ("maintenance/downgrade", '{"action":"ENABLE","version":"3.3.0"}'),
    ("maintenance/downgrade", '{"action":"CANCEL"}'),
]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_same_json_answers(servers: tuple[Server, Server], number: int) -> None:
    path, body = REQUESTS[number]
    answers = []
    for server in servers:
        answer = httpx.post(f"http://{server.target}/v3/{path}", content=body, timeout=10)
        content = {**answer.json(), "header": None} if "downgrade" in path else answer.json()
        answers.append((answer.status_code, comparable(server.comparable(content))))
    assert answers[1] == answers[0]
