"""How a run ends that has shown something to be wrong."""

from __future__ import annotations


class Violation(Exception):
    """A guarantee is broken. The message begins with its name."""

    @property
    def kind(self) -> str:
        """The guarantee's name."""
        return str(self).partition(":")[0]


def require(condition: bool, what: str) -> None:
    """Raise unless a guarantee holds.

    Raises:
        Violation: it does not; `what` begins with its name and a colon.
    """
    if not condition:
        raise Violation(what)
