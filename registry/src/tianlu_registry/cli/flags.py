"""Groups of flags: frozen dataclasses, from whose fields a command's parameters are made.

The field `listen_client_urls: Annotated[str, "Where clients connect."] = "..."` is the flag
`--listen-client-urls`, shown in the panel of its group, and can also be given as
`TIANLU_LISTEN_CLIENT_URLS`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, Protocol, get_args, get_type_hints

import typer

VARIABLE_PREFIX: Final = "TIANLU_"


class FlagGroup(Protocol):
    """A dataclass whose fields are flags, all with defaults."""

    panel: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


def flag_of(field: str) -> str:
    """Return the flag of a field."""
    return "--" + field.replace("_", "-")


def variable_of(field: str) -> str:
    """Return the environment variable of a field."""
    return VARIABLE_PREFIX + field.upper()


def takes_flags(command: Callable[[Any], None]) -> Callable[..., None]:
    """Make a command of a function that takes all flags.

    Args:
        command: its parameter is annotated with a dataclass, whose fields are groups; no two groups
            have a field in common.
    """
    hints = get_type_hints(command)
    del hints["return"]
    (whole,) = hints.values()
    groups = get_type_hints(whole)
    fields = {name: _fields(group) for name, group in groups.items()}

    def run(**values: object) -> None:
        made = {
            name: group(**{parameter.name: values[parameter.name] for parameter in fields[name]})
            for name, group in groups.items()
        }
        command(whole(**made))

    parameters = [parameter for group in fields.values() for parameter in group]
    # Typer reads a command's parameters from here.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _fields(group: type[FlagGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_option(field, hints[field.name], group.panel),
        )
        for field in dataclasses.fields(group)
    ]


def _option(field: dataclasses.Field[object], hint: object, panel: str) -> object:
    """Return what Typer makes an option of. A switch that is on by default can be turned off."""
    kind, text = get_args(hint)
    flag = flag_of(field.name)
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.default is True else flag,
        help=text,
        envvar=variable_of(field.name),
        rich_help_panel=panel,
    )
    return Annotated[kind, option]
