"""How the command says that it cannot."""

from __future__ import annotations

import sys

import typer


def failed(message: str, exit_code: int) -> typer.Exit:
    """Say what is wrong, in a line, and return what ends the command."""
    print(f"tianlu registry: {message}", file=sys.stderr)
    return typer.Exit(exit_code)
