"""`tianlu up` and `tianlu demo`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from tianlu_standalone.datadir import StartError, read_run
from tianlu_standalone.preflight import parse_control_hosts, parse_listen, parse_nodes

DataDirOption = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        help="Where everything is kept: registry, snapshots, logs, run.json.",
        envvar="TIANLU_DATA_DIR",
    ),
]


def up(
    data_dir: DataDirOption = Path("./.tianlu"),
    listen: Annotated[
        str,
        typer.Option(
            help="HOST:PORT of the one entrance: console, control APIs and service traffic.",
            envvar="TIANLU_LISTEN",
        ),
    ] = "127.0.0.1:8080",
    nodes: Annotated[
        int | None,
        typer.Option(
            envvar="TIANLU_NODES",
            help="Registry nodes: 1, 3 (one may fail) or 5 (two may). A data directory keeps the "
            "number that it was made with; without this, 1.",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Also run a small shop and a gentle load on it.")
    ] = False,
    control_host: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_CONTROL_HOST",
            metavar="NAME[,NAME]",
            help="Host names under which the console and the control APIs are served, besides IP "
            "addresses and localhost.",
        ),
    ] = "",
    auth: Annotated[
        bool | None,
        typer.Option(
            "--auth/--no-auth",
            envvar="TIANLU_AUTH",
            help="Have the registry ask who calls: makes users with random passwords in "
            "DATA_DIR/auth, and stays so until --no-auth. Without either, as it was.",
            show_default=False,
        ),
    ] = None,
    allow_insecure_listen: Annotated[
        bool,
        typer.Option(
            "--allow-insecure-listen",
            help="Let --listen name an address that other machines can reach, without encryption.",
        ),
    ] = False,
) -> None:
    """Run the whole platform on this machine: registry, mesher, console and gateway.

    Starts each part as a process of its own, starts it again if it dies, and stops all of them on
    Ctrl-C or SIGTERM. Prints where each part is and a link for the first visit to the console.

    Examples:

      tianlu up --demo

      tianlu up --data-dir /var/lib/tianlu --listen 127.0.0.1:9000

      tianlu up --nodes 3

      tianlu up --demo --auth
    """
    from tianlu_standalone.up import Options, run

    try:
        options = Options(
            data_dir,
            parse_listen(listen),
            demo,
            allow_insecure_listen,
            parse_control_hosts(control_host),
            parse_nodes(nodes),
            auth,
        )
        code = asyncio.run(run(options))
    except StartError as error:
        typer.echo(f"tianlu up: {error}", err=True)
        code = 1
    raise typer.Exit(code)


demo = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Play with the demo shop that `tianlu up --demo` runs.",
)


@demo.callback()
def _demo() -> None:
    """Play with the demo shop that `tianlu up --demo` runs."""


@demo.command()
def kill(
    service: Annotated[str, typer.Argument(help="web, orders or inventory")],
    data_dir: DataDirOption = Path("./.tianlu"),
) -> None:
    """Kill one instance of a service with SIGKILL, and watch nobody notice.

    The supervisor starts it again; meanwhile calls go to the other instances.
    """
    from tianlu_standalone.shop import process_to_kill

    try:
        name, pid = process_to_kill(read_run(data_dir), service)
        os.kill(pid, signal.SIGKILL)
    except StartError as error:
        typer.echo(f"tianlu demo: {error}", err=True)
        raise typer.Exit(1) from None
    except ProcessLookupError:
        typer.echo(f"tianlu demo: {service} has just died by itself; try again", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"killed {name} (process {pid}) with SIGKILL")
