"""etcdctl does the same and prints the same against etcd and against Tianlu."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from interop.interop_servers import ETCDCTL, Server

JSON = "--write-out=json"

SCENARIOS: dict[str, list[list[str]]] = {
    "put and get": [
        ["put", "pg/a", "1"],
        ["put", "pg/b", "2", "--prev-kv"],
        ["put", "pg/b", "3", "--prev-kv"],
        ["get", "pg/a"],
        ["get", "pg/b", JSON],
        ["get", "pg/none"],
        ["get", "pg/", "--prefix", JSON],
        ["get", "pg/", "--prefix", "--keys-only"],
        ["get", "pg/", "--prefix", "--count-only", JSON],
        ["get", "pg/a", "pg/c", "--order=DESCEND", JSON],
        ["get", "pg/", "--prefix", "--sort-by=MODIFY", "--order=DESCEND", JSON],
        ["get", "pg/", "--prefix", "--limit=1", JSON],
        ["get", "pg/b", "--from-key", "--limit=1", JSON],
        ["get", "pg/a", "--consistency=s", JSON],
        ["get", "pg/b", "--print-value-only"],
    ],
    "delete": [
        ["put", "de/a", "1"],
        ["put", "de/b", "2"],
        ["del", "de/a", "--prev-kv"],
        ["del", "de/a"],
        ["del", "de/", "--prefix", JSON],
        ["get", "de/", "--prefix", JSON],
    ],
    "ignore value and lease": [
        ["put", "ig/a", "1"],
        ["put", "ig/a", "--ignore-value"],
        ["put", "ig/a", "x", "--ignore-lease"],
        ["get", "ig/a", JSON],
        ["put", "ig/none", "--ignore-value"],
        ["put", "ig/none", "x", "--ignore-lease"],
    ],
    "errors": [
        ["get", ""],
        ["put", "", "x"],
        ["get", "er/a", "--rev=9999999"],
        ["lease", "revoke", "1234"],
        ["lease", "timetolive", "1234"],
        ["put", "er/a", "1", "--lease=1234"],
        ["lease", "grant", "99999999999"],
    ],
    "members and health": [
        ["endpoint", "health", JSON],
        ["alarm", "list"],
        ["alarm", "disarm"],
        ["defrag"],
        ["auth", "status"],
    ],
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_answers(servers: tuple[Server, Server], name: str) -> None:
    for command in SCENARIOS[name]:
        etcd, tianlu = (
            _without_times(server.etcdctl(*command).comparable(server), server)
            for server in servers
        )
        assert tianlu == etcd, command


def _without_times(answer: tuple[int, Any, str], server: Server) -> tuple[int, Any, str]:
    status, output, errors = answer
    if isinstance(output, list):
        output = json.loads(_replaced(json.dumps(output), server))
        for each in _flattened(output):
            each.pop("took", None)
    else:
        output = _replaced(output, server)
    return status, output, _replaced(errors, server)


def _flattened(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value]
    return (
        [found for each in value for found in _flattened(each)] if isinstance(value, list) else []
    )


def _replaced(text: str, server: Server) -> str:
    return text.replace(server.target, "<target>")


TXNS = {
    "value compare": 'value("tx/a") = "1"\n\nput tx/a 2\nget tx/a\n\nput tx/a 9\n\n',
    "the other branch": 'value("tx/a") = "1"\n\nput tx/b 2\n\nget tx/a\ndel tx/a\n\n',
    "version, create, mod": 'version("tx/a") = "0"\ncreate("tx/a") = "0"\nmod("tx/a") < "1"\n\n'
    "put tx/a 5\n\n\n",
    "duplicate key": "\nput tx/d 1\nput tx/d 2\n\n\n",
    "put and delete of a key": "\nput tx/d 1\ndel tx/d\n\n\n",
    "greater and not equal": (
        'version("tx/a") > "0"\nvalue("tx/a") != "x"\n\nget tx/ --prefix\n\n\n'
    ),
}


def test_same_transactions(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.etcdctl("put", "tx/a", "1")
    for name, text in TXNS.items():
        etcd, tianlu = (
            server.etcdctl("txn", JSON, stdin=text).comparable(server) for server in servers
        )
        assert tianlu == etcd, name


def test_same_leases(servers: tuple[Server, Server]) -> None:
    for server in servers:
        granted = server.etcdctl("lease", "grant", "100")
        server.remembered["lease"] = granted.output.split()[1]
    for command in (
        ["put", "le/a", "1", "--lease={lease}"],
        ["get", "le/a"],
        ["lease", "keep-alive", "--once", "{lease}"],
        ["lease", "revoke", "{lease}"],
        ["get", "le/a", JSON],
        ["lease", "timetolive", "{lease}"],
        ["lease", "keep-alive", "--once", "{lease}"],
    ):
        etcd, tianlu = (server.etcdctl(*command).comparable(server) for server in servers)
        assert tianlu == etcd, command


def test_same_watches(servers: tuple[Server, Server]) -> None:
    seen = []
    for server in servers:
        # From a revision, so that nothing is missed while etcdctl starts.
        start = f"--rev={server.base_revision + 1}"
        flags = ["watch", "wa/", "--prefix", "--prev-kv", start, JSON]
        watching = subprocess.Popen(
            [ETCDCTL, f"--endpoints={server.target}", *flags], stdout=subprocess.PIPE, text=True
        )
        try:
            server.etcdctl("put", "wa/a", "1")
            server.etcdctl("put", "wa/a", "2")
            server.etcdctl("txn", stdin="\nput wa/b 3\ndel wa/a\n\n\n")
            server.etcdctl("del", "wa/", "--prefix")
            seen.append(_events(watching.stdout, server, 5))
        finally:
            watching.kill()
            watching.communicate(timeout=10)
    assert seen[1] == seen[0]


def _events(lines: Any, server: Server, count: int) -> list[Any]:
    """Return the first events that come, whatever responses they come in."""
    events: list[Any] = []
    while len(events) < count:
        events.extend(json.loads(lines.readline())["Events"])
    return [server.comparable(event) for event in events]


def test_same_watch_of_history_and_compaction(servers: tuple[Server, Server]) -> None:
    for server in servers:
        for value in "12345":
            server.etcdctl("put", "co/a", value)
    for distance, command in (
        (2, ["get", "co/a", "--rev={at}", JSON]),
        (3, ["compact", "{at}"]),
        (3, ["compact", "{at}"]),
        (1, ["compact", "{at}"]),
        (2, ["get", "co/a", "--rev={at}"]),
        (3, ["get", "co/a", "--rev={at}", JSON]),
        (2, ["watch", "co/a", "--rev={at}"]),
        (999, ["compact", "{at}"]),
    ):
        answers = []
        for server in servers:
            server.remembered["at"] = str(server.base_revision + distance)
            status, output, errors = server.etcdctl(*command).comparable(server)
            at = server.remembered["at"]
            if isinstance(output, str):
                output = output.replace(at, "<at>")
            answers.append((status, output, errors))
        assert answers[1] == answers[0], command
