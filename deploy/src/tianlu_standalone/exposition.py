"""Joins the Prometheus texts of several parts into one. Pure.

A family's HELP and TYPE may stand once in a text, so samples of the same family from several
parts are brought together and told apart by a `part` label.

Source: prometheus.io, "Exposition formats", text format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_VALUE = r"[+-]?(?:\d[\d.]*(?:[eE][+-]?\d+)?|\.\d+|Inf|NaN)"
_SAMPLE = re.compile(rf"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{{.*\}})?( {_VALUE}(?: -?\d+)?)$")
_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created", "_info")


@dataclass(slots=True)
class _Family:
    header: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)


def merge(texts: Mapping[str, str]) -> str:
    """Return one exposition of all parts' samples.

    Args:
        texts: each part's name and exposition text. Lines that are not in the format are left out.
    """
    families: dict[str, _Family] = {}
    for part, text in texts.items():
        described: dict[str, str] = {}
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                keyword, name = line[2:6], line.split(" ", 3)[2]
                described.setdefault(name, name)
                family = families.setdefault(name, _Family())
                if not any(kept.startswith(f"# {keyword} ") for kept in family.header):
                    family.header.append(line)
            elif match := _SAMPLE.match(line):
                sample, labels, rest = match.groups()
                family = families.setdefault(_family_name(sample, described), _Family())
                family.samples.append(f"{sample}{_with_part(labels, part)}{rest}")
    lines: list[str] = []
    for family in families.values():
        if family.samples:
            lines += family.header
            lines += family.samples
    return "\n".join(lines) + "\n"


def _family_name(sample: str, described: Mapping[str, str]) -> str:
    if sample in described:
        return sample
    for suffix in _SUFFIXES:
        if sample.endswith(suffix) and sample.removesuffix(suffix) in described:
            return sample.removesuffix(suffix)
    return sample


def _with_part(labels: str | None, part: str) -> str:
    inside = (labels or "{}")[1:-1].rstrip(",")
    return f'{{part="{part}"{"," if inside else ""}{inside}}}'
