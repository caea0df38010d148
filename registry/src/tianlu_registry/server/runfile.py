"""The run file: where a serving part says, to programs, that it serves and at which addresses."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_run_file(path: Path, part: str, addresses: Mapping[str, Any]) -> None:
    """Write the file in one step: a reader sees all of it or none.

    Raises:
        OSError: the directory is missing or not writable.
    """
    content = {"part": part, "pid": os.getpid(), "ready": True, "addresses": dict(addresses)}
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(content, indent=2) + "\n")
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def remove_run_file(path: Path) -> None:
    """Take the file away, if it is there."""
    path.unlink(missing_ok=True)
