"""The two servers that must behave alike, and how their answers are made comparable.

Revisions are compared as distances from the server's revision when a scenario began. What two
servers cannot share (ids, terms, sizes, times) becomes a placeholder.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

ETCDCTL = Path(sys.executable).parent / "etcdctl"

_REVISIONS = frozenset(
    {"revision", "create_revision", "mod_revision", "compact_revision", "start_revision"}
)
_UNCOMPARABLE = frozenset({"cluster_id", "member_id", "raft_term", "dbSize", "ID", "memberID"})


@dataclass(slots=True)
class Server:
    """One server.

    Attributes:
        name: "etcd" or "tianlu".
        target: ``host:port``.
        base_revision: its revision when the scenario began.
    """

    name: str
    target: str
    base_revision: int = 0
    remembered: dict[str, str] = field(default_factory=dict)

    def etcdctl(self, *arguments: str, stdin: str = "") -> Etcdctl:
        """Run etcdctl; ``{name}`` in an argument stands for what `remember` kept."""
        done = subprocess.run(
            [ETCDCTL, f"--endpoints={self.target}", *(self._filled(each) for each in arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return Etcdctl(done.returncode, done.stdout, done.stderr)

    def _filled(self, argument: str) -> str:
        for name, value in self.remembered.items():
            argument = argument.replace(f"{{{name}}}", value)
        return argument

    def comparable(self, value: Any) -> Any:
        """Return an answer (parsed JSON or a message) without what differs between servers."""
        if isinstance(value, Message):
            value = MessageToDict(value, preserving_proto_field_name=True)
        if isinstance(value, list):
            return [self.comparable(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {name: self._comparable_field(name, each) for name, each in value.items()}

    def _comparable_field(self, name: str, value: Any) -> Any:
        if name in _REVISIONS:
            return f"+{int(value) - self.base_revision}"
        if name in _UNCOMPARABLE and not isinstance(value, dict | list):
            return f"<{name}>"
        return self.comparable(value)


@dataclass(frozen=True, slots=True)
class Etcdctl:
    """What a run of etcdctl printed."""

    status: int
    output: str
    errors: str

    def comparable(self, server: Server) -> tuple[int, Any, str]:
        """Return status, output and the error text without what differs between servers."""
        output: Any
        try:
            documents = [json.loads(line) for line in self.output.splitlines()]
            output = [server.comparable(each) for each in documents]
        except json.JSONDecodeError:
            output = without_ids(self.output)
        return self.status, output, _error_text(self.errors)


def _error_text(text: str) -> str:
    """Return etcdctl's own last words, without its log lines."""
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    return without_ids("\n".join(lines))


def without_ids(text: str) -> str:
    """Return a text with `<id>` for each hexadecimal id; etcdctl pads short ones with spaces."""
    return re.sub(r"((?<= ) +)?\b[0-9a-f]{12,16}\b", "<id>", text)
