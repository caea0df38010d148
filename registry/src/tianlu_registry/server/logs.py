"""One line per event on stderr, ``LEVEL logger event key=value ...``, in both processes."""

from __future__ import annotations

import logging
import sys

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
"""Level names as etcd's --log-level has them."""


def set_up_logging(level: str) -> None:
    """Send log records of `level` and above to stderr.

    Args:
        level: a key of `LEVELS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
