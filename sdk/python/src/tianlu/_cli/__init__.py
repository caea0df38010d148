"""The `tianlu` command. docs/cli.md is its guide."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the console script's entry point."""
    from tianlu._cli.root import app

    app()
