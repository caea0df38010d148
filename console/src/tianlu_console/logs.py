"""Log lines: `LEVEL logger event key=value ...` on stderr, one per event."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str) -> None:
    """Send everything from `level` up to stderr.

    Args:
        level: "debug", "info", "warning" or "error".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What they tell at INFO, we tell ourselves in our own form.
    for name in ("uvicorn.error", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
