"""Every form of output and every flag of etcdctl's short commands, on etcd and on Tianlu.

Both servers are fresh and do the same, so their revisions are equal.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.message import Message
from interop.interop_servers import ETCDCTL, Server
from registry.etcd_process import EtcdProcess, free_port
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd import rpc_pb2 as pb

LEASE = "{lease}"

FORMS = ("simple", "json", "fields", "table")

SETUP: list[list[str]] = [
    ["put", "fo/a", "1"],
    ["put", "fo/b", "2"],
    ["put", "fo/b", "3"],
    ["put", "fo/tab\tand\nline", "\x01"],
    ["put", "fo/leased", "4", f"--lease={LEASE}"],
    ["role", "add", "reader"],
    ["role", "grant-permission", "reader", "readwrite", "fo/", "--prefix"],
    ["role", "grant-permission", "reader", "read", "z", "--from-key"],
    ["user", "add", "ann:annpw"],
    ["user", "grant-role", "ann", "reader"],
]

IN_ALL_FORMS: list[list[str]] = [
    ["get", "fo/", "--prefix"],
    ["get", "fo/none"],
    ["put", "fo/b", "4", "--prev-kv"],
    ["del", "fo/b", "--prev-kv"],
    ["lease", "timetolive", LEASE, "--keys"],
    ["lease", "list"],
    ["lease", "keep-alive", "--once", LEASE],
    ["role", "get", "reader"],
    ["role", "list"],
    ["user", "get", "ann"],
    ["user", "list"],
    ["auth", "status"],
    ["member", "list"],
    ["alarm", "list"],
    ["endpoint", "status"],
    ["endpoint", "health"],
    ["endpoint", "hashkv"],
    ["compaction", "2"],
    ["defrag"],
    ["role", "add", "again"],
    ["role", "grant-permission", "again", "write", "x", "y"],
    ["role", "revoke-permission", "again", "x", "y"],
    ["user", "add", "bob", "--new-user-password=x"],
    ["user", "grant-role", "bob", "again"],
    ["user", "revoke-role", "bob", "again"],
    ["user", "delete", "bob"],
    ["role", "delete", "again"],
]

WITH_FLAGS: list[list[str]] = [
    ["get", "fo/a", "--hex"],
    ["get", "fo/", "--prefix", "--hex", "--write-out=json"],
    ["get", "fo/a", "--print-value-only"],
    ["get", "fo/b", "--rev=3"],
    ["get", "fo/b", "fo/c", "--consistency=l"],
    ["get", "fo/b", "--consistency=x"],
    ["get", "fo/a", "--prefix", "--from-key"],
    ["get", "fo/a", "b", "c"],
    ["get"],
    ["get", "", "--from-key", "--keys-only"],
    ["get", "fo/", "--prefix", "--count-only"],
    ["get", "fo/", "--prefix", "--count-only", "--write-out=fields"],
    *(
        ["get", "fo/", "--prefix", f"--sort-by={target}", f"--order={order}", "--keys-only"]
        for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")
        for order in ("ASCEND", "DESCEND")
    ),
    ["get", "fo/", "--sort-by=NOTHING"],
    ["put", "fo/-dash", "--", "-1"],
    ["put", "fo/lease", "1", "--lease=zz"],
    ["put", "fo/lease", "1", f"--lease={LEASE}", "--write-out=json"],
    ["put", "fo/lease", "2", "--ignore-lease", "--prev-kv"],
    ["put", "fo/lease", "--ignore-value", f"--lease={LEASE}"],
    ["del", "fo/x1", "fo/x3", "--prev-kv"],
    ["del", "fo/x", "--prefix", "--from-key"],
    ["del", "fo/x2", "--from-key", "--prev-kv"],
    ["compaction", "x"],
    ["compaction", "5", "--physical"],
    ["endpoint", "hashkv", "--rev=99999"],
    ["lease", "grant", "x"],
    ["lease", "grant", "-1"],
    ["lease", "revoke", LEASE],
    ["--user=ann", "--password=annpw", "get", "fo/a"],
    ["--command-timeout=5s", "--dial-timeout=2s", "--keepalive-time=1s", "get", "fo/a"],
    ["--endpoints=127.0.0.1:1", "--command-timeout=200ms", "--dial-timeout=200ms", "get", "x"],
    ["user", "passwd", "ann", "--interactive=false"],
    ["version"],
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    etcd = EtcdProcess(tmp_path_factory.mktemp("forms-etcd"))
    peer = f"http://127.0.0.1:{free_port()}"
    tianlu = RegistryProcess(
        tmp_path_factory.mktemp("forms-tianlu"),
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
            granted = server.etcdctl("lease", "grant", "600")
            server.remembered["lease"] = granted.output.split()[1]
            for command in SETUP:
                assert server.etcdctl(*command).status == 0, command
        yield both
    finally:
        etcd.kill()
        tianlu.kill()


_OF_A_SERVER = re.compile(
    r"""(?P<name>"?(ClusterID|MemberID|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse"""
    r"""|HashKV|Hash|Version|Leader|ID|GrantedID|Took)"?\s*:\s*)\S+""",
    re.IGNORECASE,
)
_OF_A_TIME = re.compile(r"took = \S+|took \S+s\b|remaining\(\d+s\)|\b\d+(\.\d+)?[mµn]?s\b")
_NUMBERS = re.compile(r"\b\d{5,}\b")
_RELEASE = re.compile(r"\b3\.5\.\d+\b")
_UNEQUAL = frozenset(
    {"dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex", "raftTerm", "leader", "hash", "took"}
    | {"ttl", "id", "lease"}
)
_NEWER = frozenset({"dbSizeQuota", "storageVersion", "downgradeInfo"})


def run(server: Server, command: list[str], stdin: str = "") -> tuple[int, Any, str]:
    """Run a command; returns status, output and error in a form that servers can share."""
    status, output, errors = server.etcdctl(*command, stdin=stdin).comparable(server)
    if command[:2] == ["endpoint", "status"] and isinstance(output, str):
        output = re.sub(r"\d[\d.]*", "<>", output.replace(server.target, "<target>"))
    return status, shared(output, server), shared(errors, server)


def shared(value: Any, server: Server) -> Any:
    """Return an output without what belongs to one server or one moment."""
    if isinstance(value, dict):
        return {
            name: f"<{name}>" if name in _UNEQUAL else shared(each, server)
            for name, each in value.items()
            if name not in _NEWER
        }
    if isinstance(value, list):
        return [shared(each, server) for each in value]
    if not isinstance(value, str):
        return value
    text = value.replace(server.remembered.get("lease", "<lease>"), "<lease>")
    text = _OF_A_SERVER.sub(r"\g<name><>", text.replace(server.target, "<target>"))
    text = _NUMBERS.sub("<number>", _OF_A_TIME.sub("<time>", text))
    # Columns are as wide as an id, which may have a digit less.
    return re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", _RELEASE.sub("<release>", text)))


def same(pair: tuple[Server, Server], command: list[str], stdin: str = "") -> None:
    with ThreadPoolExecutor(2) as both:
        etcd, tianlu = both.map(lambda server: run(server, command, stdin), pair)
    assert tianlu == etcd, command


@pytest.mark.parametrize("form", FORMS)
def test_same_in_every_form(pair: tuple[Server, Server], form: str) -> None:
    for command in [*IN_ALL_FORMS, *SETUP[1:3]]:
        same(pair, [*command, f"--write-out={form}"])


def test_same_with_flags(pair: tuple[Server, Server]) -> None:
    for command in WITH_FLAGS:
        same(pair, command, "new\nnew\n" if "passwd" in command else "")


MESSAGES: list[tuple[list[str], type[Message]]] = [
    (["put", "fo/p", "1", "--prev-kv"], pb.PutResponse),
    (["put", "fo/p", "2", "--prev-kv"], pb.PutResponse),
    (["get", "fo/p"], pb.RangeResponse),
    (["get", "fo/", "--prefix", "--count-only"], pb.RangeResponse),
    (["del", "fo/p", "--prev-kv"], pb.DeleteRangeResponse),
    (["member", "list"], pb.MemberListResponse),
    (["user", "get", "ann"], pb.AuthUserGetResponse),
    (["role", "get", "reader"], pb.AuthRoleGetResponse),
    (["alarm", "list"], pb.AlarmResponse),
]


def test_same_messages(pair: tuple[Server, Server]) -> None:
    for command, message in MESSAGES:
        answers = []
        for server in pair:
            done = subprocess.run(
                [ETCDCTL, f"--endpoints={server.target}", *command, "--write-out=protobuf"],
                capture_output=True,
                timeout=20,
            )
            answer = message.FromString(done.stdout)
            answers.append((done.returncode, shared(server.comparable(answer), server)))
        assert answers[1] == answers[0], command
