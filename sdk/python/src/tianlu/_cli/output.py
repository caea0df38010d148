"""Writes results: as a table for people, as JSON or YAML for programs.

Programs get the SDK's values with its own field names, so the shape is that of docs/sdk.md.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, TypeAlias

import typer

from tianlu._cli.options import Output
from tianlu._model import Instance

Data: TypeAlias = "dict[str, Data] | list[Data] | str | int | float | bool | None"

_COLORS: Final = {
    "serving": "green",
    "suspect": "yellow",
    "isolated": "red",
    "starting": "cyan",
    "draining": "cyan",
    "down": "red",
    "no weight": "yellow",
}


def to_data(value: object) -> Data:
    """Return a value as what JSON and YAML can write. Bytes that are no UTF-8 become
    {"base64": ...}."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_data(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return to_data(value.value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_data(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_data(one) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [to_data(one) for one in value]
    raise TypeError(f"no way to write {type(value).__name__}")


def show(
    output: Output, data: object, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Write a result.

    Args:
        data: for JSON and YAML.
        header, rows: for the table.
    """
    if output is Output.TABLE:
        typer.echo(table(header, rows), nl=False)
    else:
        show_data(output, data)


def show_data(output: Output, data: object) -> None:
    """Write a result as one JSON or YAML document; a table is not asked for."""
    if output is Output.JSON:
        typer.echo(json.dumps(to_data(data), indent=2, ensure_ascii=False))
        return
    import yaml

    typer.echo(yaml.safe_dump(to_data(data), sort_keys=False, allow_unicode=True), nl=False)


def show_event(output: Output, data: object, line: str) -> None:
    """Write one of a stream of results: a line of text, a line of JSON or a YAML document."""
    if output is Output.TABLE:
        typer.echo(line)
    elif output is Output.JSON:
        typer.echo(json.dumps(to_data(data), ensure_ascii=False))
    else:
        typer.echo("---")
        show_data(output, data)
    sys.stdout.flush()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table. Colors are for terminals; typer strips them elsewhere."""
    shown = [[_one_line(cell) for cell in row] for row in rows]
    widths = [
        max(len(name), *(len(row[column]) for row in shown), 0) if shown else len(name)
        for column, name in enumerate(header)
    ]
    lines = [_line(header, widths, bold=True), *(_line(row, widths) for row in shown)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], *, bold: bool = False) -> str:
    parts = []
    for cell, width in zip(cells, widths, strict=True):
        padding = " " * (width - len(cell))
        styled = bold or cell in _COLORS
        shown = typer.style(cell, fg=_COLORS.get(cell), bold=bold) if styled else cell
        parts.append(shown + padding)
    return "  ".join(parts).rstrip()


def _one_line(cell: str) -> str:
    return "".join(one if one.isprintable() else " " for one in cell) or "-"


def bytes_text(count: int) -> str:
    """Return a size as people write it: 29 kB, 1.5 GB."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.1f} {units[0]}" if size < 10 and units[0] != "B" else f"{size:.0f} {units[0]}"


def state_of(instance: Instance) -> str:
    """Return the one word that says whether and why not an instance is sent traffic."""
    if instance.isolated:
        return "isolated"
    if instance.status.value != "up":
        return instance.status.value
    if instance.suspect:
        return "suspect"
    return "serving" if instance.weight else "no weight"


def _text(value: bytes) -> Data:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
