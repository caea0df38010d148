"""Durations as Go's programs take them: ``90s``, ``1h30m``, ``100ms``."""

from __future__ import annotations

import re
from typing import Final

_SECONDS_OF_UNIT: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}

_PART: Final = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"


def go_seconds(text: str) -> float | None:
    """Return the seconds of a duration; None if the text is none. ``0`` needs no unit.

    Source: Go's time.ParseDuration.
    """
    if text == "0":
        return 0.0
    if re.fullmatch(f"(?:{_PART})+", text) is None:
        return None
    return sum(float(number) * _SECONDS_OF_UNIT[unit] for number, unit in re.findall(_PART, text))
