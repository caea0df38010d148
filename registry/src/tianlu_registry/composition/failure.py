"""How the process ends when it cannot go on."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from tianlu_registry.errors import Broken, InputError, RegistryError, Unavailable
from tianlu_registry.node.datadir import DataDirUnusable
from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, EXIT_UNAVAILABLE, EXIT_USAGE
from tianlu_registry.transport import CannotListen

_log = logging.getLogger(__name__)

_EXIT_SOFTWARE: Final = 70


def exit_with(error: BaseException) -> None:
    """End the process because of `error`: one line for people, and at once.

    Nothing is cleaned up: a disk that failed may hang whoever asks it again, and everything
    acknowledged is durable already.
    """
    if not isinstance(error, RegistryError):
        _log.critical("app_crashed error=%s", type(error).__name__, exc_info=error)
    print(f"tianlu registry: {str(error) or type(error).__name__}", file=sys.stderr, flush=True)
    os._exit(exit_code_of(error))


def exit_code_of(error: BaseException) -> int:
    """Return the exit status that tells the launcher, and people, what kind of failure it was."""
    if isinstance(error, Broken):
        return error.exit_code
    if isinstance(error, InputError):
        return EXIT_USAGE
    if isinstance(error, DataDirUnusable):
        return EXIT_CANNOT_CREATE
    if isinstance(error, Unavailable | CannotListen):
        return EXIT_UNAVAILABLE
    return _EXIT_SOFTWARE
