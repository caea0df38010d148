"""The root of the command line: finds subcommands, and imports only the one that is called.

Subcommands are the SDK's own and whatever distributions offer in the entry-point group
`tianlu.commands`. An entry point names a typer application or a plain function with typer
annotations. `tianlu --help` lists all of them without importing any: the summaries stand here, and
for strangers the distribution's own summary is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from tianlu._cli.access import add_options

if TYPE_CHECKING:
    from typer._click import Command, Context

GROUP: Final = "tianlu.commands"

_HELP: Final = """
Govern services: run Tianlu's parts, and see and change what is registered.

Which registry: `--endpoints`, or the environment variable TIANLU_ENDPOINTS; 127.0.0.1:8080 if
neither is given. Who calls: `--user`, or the environment variable TIANLU_USER; nobody if neither is
given. Exit status: 0 done, 1 refused or not found, 2 wrong usage, 3 no registry could be reached.

Examples:

  tianlu up --demo

  tianlu service list

  tianlu instance list orders --output json

  tianlu instance isolate orders 10.0.0.7:9000 --reason "disk is failing"

  tianlu watch services orders
"""


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A subcommand before it is imported.

    Attributes:
        load: imports it; returns a typer application or a function.
    """

    summary: str
    load: Callable[[], object]


_OWN: Final = {
    "service": "List, show, describe and delete services.",
    "instance": "List, register, isolate and remove instances.",
    "watch": "Follow changes as they happen.",
    "subscribers": "List who watches the catalogue, and what each has applied.",
    "cluster": "See, change and heal the cluster of registry nodes.",
    "auth": "Switch authentication on and off.",
    "user": "List, add and change users, and their roles.",
    "role": "List, add and change roles: what users may do.",
    "kv": "Read and write the registry's raw keys, as etcdctl does.",
    "bench": "Measure a registry, or any other server that speaks etcd v3.",
    "version": "Print the versions of what is installed.",
}
"""The SDK's own subcommands, each in the module of this package with its name."""

_FALLBACKS: Final = ("snapshot",)
"""Those that another distribution, where it is installed, offers whole. Ours are a part of them."""

_SUMMARIES: Final = {
    "up": "Run the whole platform on this machine.",
    "demo": "Play with the demo shop that `tianlu up --demo` runs.",
    "registry": "Run a registry node.",
    "sim": "Prove the registry: whole clusters in a simulated world, seed after seed.",
    "gateway": "Run a gateway: the entrance for traffic from outside.",
    "mesher": "Run a mesher: the proxy for traffic between services on a host.",
    "console": "Run the web console.",
    "snapshot": "Save, check and restore copies of all that a registry holds.",
}


def subcommands() -> dict[str, Subcommand]:
    """Return all subcommands by name. Our own win over entry points of the same name, but for the
    fallbacks."""
    found = {
        point.name: Subcommand(_SUMMARIES.get(point.name) or _distribution(point), point.load)
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)
    }
    for name in _FALLBACKS:
        found.setdefault(name, Subcommand(_SUMMARIES[name], _own_loader(name)))
    for name, summary in _OWN.items():
        found[name] = Subcommand(summary, _own_loader(name))
    return found


def _own_loader(name: str) -> Callable[[], object]:
    return lambda: import_module(f"tianlu._cli.{name}").app


def _distribution(point: EntryPoint) -> str:
    summary = point.dist.metadata["Summary"] if point.dist is not None else None
    return summary or f"From {point.value}."


def as_command(loaded: object, name: str) -> Command:
    """Turn what an entry point named into a command; one that has `--endpoints` gets the options
    of `tianlu._cli.access` too.

    Raises:
        TypeError: it is neither a typer application nor a function.
    """
    if not isinstance(loaded, typer.Typer):
        if not callable(loaded):
            raise TypeError(f"entry point {name} names {loaded!r}, no typer.Typer or function")
        # Markdown: paragraphs are filled to the terminal's width, however the source breaks them.
        function = loaded
        loaded = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        loaded.command(name)(function)
    command = add_options(typer.main.get_command(loaded))
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that imports a subcommand when it is called, not when it is listed."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's own signature
        super().__init__(**attributes)
        self._subcommands = subcommands()

    def list_commands(self, ctx: Context) -> list[str]:
        del ctx
        return sorted(self._subcommands)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return a stand-in with the summary, for lists. `resolve_command` imports."""
        del ctx
        found = self._subcommands.get(cmd_name)
        return None if found is None else TyperCommand(cmd_name, help=found.summary)

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        found = self._subcommands.get(args[0])
        if found is None:
            return super().resolve_command(ctx, args)
        try:
            loaded = found.load()
        except ImportError as error:
            ctx.fail(f"{args[0]} cannot be loaded: {error}")
        return args[0], as_command(loaded, args[0]), args[1:]


app = typer.Typer(
    cls=LazyGroup,
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _root() -> None:
    pass
