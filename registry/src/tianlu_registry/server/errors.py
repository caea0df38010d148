"""Why a node cannot be started, in words for the person who started it."""

from __future__ import annotations

EXIT_USAGE = 64
"""A flag, or two flags together, cannot be. Source of these numbers: sysexits.h."""

EXIT_UNAVAILABLE = 69
"""Something the node needs is missing: a shared libpython, a program, a free port."""

EXIT_CANNOT_CREATE = 73
"""The data directory, a socket or the run file cannot be made or written."""


class CannotStart(Exception):
    """The node cannot start as it was asked to. The message is one line: what, and what to do.

    Args:
        message: without the command's name and without a final full stop.
        exit_code: the process's exit status.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
