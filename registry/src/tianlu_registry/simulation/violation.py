"""How a run ends that has shown something to be wrong."""

from __future__ import annotations


class Violation(Exception):
    """A guarantee is broken. The message begins with its name."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)
