"""One line per event on stderr, ``LEVEL logger event key=value ...`` or JSON, in both processes."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, EXIT_USAGE, CannotStart

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
"""Level names as etcd's --log-level has them."""

CONSOLE: Final = "console"
JSON: Final = "json"

_STANDARD_ERROR: Final = 2


def set_up_logging(level: str, log_format: str = CONSOLE) -> None:
    """Send log records of `level` and above to stderr.

    Args:
        level: a key of `LEVELS`.
        log_format: console or json.
    """
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(levelname)s %(name)s %(message)s")
    handler.setFormatter(_JsonFormatter() if log_format == JSON else plain)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])


def direct_log(outputs: str) -> None:
    """Send what this process and its children write to stderr elsewhere from now on.

    Args:
        outputs: ``default`` or ``stderr``: nowhere else; ``stdout``; or the path of a file.

    Raises:
        CannotStart: there are several, or the file cannot be written.
    """
    if outputs in ("", "default", "stderr", "systemd/journal"):
        return
    if "," in outputs:
        raise CannotStart(
            f"--log-outputs: {outputs}: give one; let what starts the node copy it elsewhere",
            EXIT_USAGE,
        )
    sys.stderr.flush()
    if outputs == "stdout":
        os.dup2(sys.stdout.fileno(), _STANDARD_ERROR)
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        file = os.open(Path(outputs), flags, 0o640)
    except OSError as error:
        raise CannotStart(
            f"--log-outputs: {outputs}: {error.strerror}", EXIT_CANNOT_CREATE
        ) from error
    os.dup2(file, _STANDARD_ERROR)
    os.close(file)


class _JsonFormatter(logging.Formatter):
    """An object a line, with the keys that etcd's log has."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "level": _level(record.levelno),
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            fields["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _level(number: int) -> str:
    return next(
        (name for name, least in reversed(LEVELS.items()) if number >= least),
        "debug",
    )
