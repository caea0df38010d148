"""How a program of tests/clients speaks with the test: a line a step, and requests to the test."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 30.0


def say(step: str, *outcome: object) -> None:
    """Print one step's outcome."""
    print(f"{step}:", *map(_text, outcome), flush=True)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Exception):
        told = value.details() if hasattr(value, "details") else str(value)
        told = getattr(value, "detail_text", None) or told
        return f"error<{type(value).__name__} {told}>"
    return str(value)


def ask(*request: str) -> None:
    """Have the test do something to the server: `restart`, or `etcdctl ARGUMENTS`."""
    print("?" + " ".join(request), flush=True)
    if not sys.stdin.readline():
        raise EOFError("the test is gone")


def failure(step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what a step that has to fail said."""
    try:
        step(*arguments, **options)
    except Exception as error:  # noqa: BLE001
        return error
    return "no error"


def patiently(step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what a step returns that may fail while the server starts again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step(*arguments, **options)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
