"""Whether the cores of this installation are compiled (docs/adr/0021)."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES

from tianlu_registry.mvcc import store


def kind_of_cores() -> str:
    """Return how this process' cores run: `compiled` or `interpreted`."""
    return "compiled" if store.__file__.endswith(tuple(EXTENSION_SUFFIXES)) else "interpreted"
