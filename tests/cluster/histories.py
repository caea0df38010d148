"""What clients did and what they were told, as data: JSON lines that can be judged again later."""

from __future__ import annotations

import enum
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

NEVER = float("inf")
"""The completion of an operation whose outcome its client never learned."""


class Kind(enum.StrEnum):
    GET = "get"
    PUT = "put"
    SWAP = "swap"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one key.

    Attributes:
        client: who called; a client calls one operation after the other.
        invoked: when, in seconds of one monotonic clock.
        completed: when the answer came; `NEVER` when the outcome is unknown.
        value: what a get found, or what a put or swap writes; None for an absent key.
        expected: what a swap compares with; None for an absent key.
        succeeded: whether a swap's comparison held, or a deletion found the key.
        revision: the store's, in the answer's header; 0 when unknown.
        mod_revision: of the key that a get found; 0 when there was none.
    """

    client: int
    kind: Kind
    key: str
    invoked: float
    completed: float = NEVER
    value: str | None = None
    expected: str | None = None
    succeeded: bool = True
    revision: int = 0
    mod_revision: int = 0

    @property
    def is_known(self) -> bool:
        return self.completed != NEVER

    def writes(self) -> bool:
        """Return whether it is known to have made a revision."""
        return self.is_known and self.kind is not Kind.GET and self.succeeded

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it: an unknown completion is null."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"completed": self.completed if self.is_known else None}

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """Return the operation that `record` was made from."""
        completed = record["completed"]
        kind = Kind(record["kind"])
        known = NEVER if completed is None else completed
        return cls(**{**record, "kind": kind, "completed": known})


class History:
    """Operations as they end, in memory and in a file. Clients on any thread add to it.

    Args:
        file: JSON lines, one an operation; None for memory alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.operations: list[Operation] = []
        self._lock = threading.Lock()
        self._file: TextIO | None = file.open("w") if file else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    def add(self, operation: Operation) -> None:
        with self._lock:
            self.operations.append(operation)
            if self._file:
                self._file.write(json.dumps(operation.record()) + "\n")

    def acknowledged(self) -> int:
        """Return how many operations were answered."""
        with self._lock:
            return sum(operation.is_known for operation in self.operations)


def read(file: Path) -> list[Operation]:
    """Read a history back."""
    return [Operation.of(json.loads(line)) for line in file.read_text().splitlines()]


def by_key(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """Return the operations of each key, in the order in which they were invoked."""
    keys: dict[str, list[Operation]] = {}
    for operation in sorted(operations, key=lambda one: one.invoked):
        keys.setdefault(operation.key, []).append(operation)
    return keys


def now() -> float:
    """Return the moment on the clock of all histories."""
    return time.monotonic()
