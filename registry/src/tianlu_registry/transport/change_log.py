"""Logging what is tried again and again: once per change, not once per attempt."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

SUBJECTS_MAX: Final = 256


class ChangeLog:
    """Remembers what was last logged of each subject; the oldest subjects are forgotten."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._last: OrderedDict[str, str] = OrderedDict()

    def note(self, event: str, subject: str, reason: str) -> None:
        """Log `event` as a warning, unless it is what was last said of `subject`."""
        text = f"{event} {reason}"
        if self._last.get(subject) == text:
            return
        self._last[subject] = text
        self._last.move_to_end(subject)
        if len(self._last) > SUBJECTS_MAX:
            self._last.popitem(last=False)
        self._logger.warning("%s peer=%s reason=%s", event, subject, reason)

    def forget(self, subject: str) -> None:
        """It is well again: the next trouble is news."""
        self._last.pop(subject, None)
