"""`tianlu bench`: a load driver over an HTTP/2 of its own, and the commands that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def __getattr__(name: str) -> typer.Typer:
    """Import the commands only when they are called: worker processes import this package too."""
    if name != "app":
        raise AttributeError(name)
    from tianlu._cli.bench.commands import app

    return app
