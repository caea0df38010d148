"""The run file: says to whoever started the console that it serves, and where."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PART: Final = "console"


def write_run_file(path: Path, addresses: Mapping[str, str]) -> None:
    """Write the file whole or not at all: readers see the old one or the new one.

    It is readable by its owner alone, because it may hold the first-visit link.
    """
    content = {"part": PART, "pid": os.getpid(), "ready": True, "addresses": dict(addresses)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
    partial.replace(path)


def remove_run_file(path: Path) -> None:
    """Remove the file, if it is still ours."""
    try:
        if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
            path.unlink()
    except (OSError, ValueError, KeyError):
        return
