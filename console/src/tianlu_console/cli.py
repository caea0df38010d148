"""`tianlu console`: the web console as a process."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tianlu import InvalidInput
from tianlu.registry_access import (
    RegistryCaCert,
    RegistryCert,
    RegistryKey,
    RegistryPasswordFile,
    RegistryServerName,
    RegistryUser,
    registry_access,
)
from tianlu_console.logs import configure_logging
from tianlu_console.settings import CannotStart, ListenAddress, Settings

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.callback(invoke_without_command=True)
def console(
    listen: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_LISTEN",
            help="Where to accept connections: HOST:PORT (0: the kernel chooses) or unix:PATH.",
        ),
    ] = "127.0.0.1:8500",
    registry: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_REGISTRY",
            help="The registry's endpoints, with commas between: HOST:PORT, "
            "https://HOST:PORT or unix:PATH each.",
        ),
    ] = "127.0.0.1:2379",
    registry_user: RegistryUser = "",
    registry_password_file: RegistryPasswordFile = None,
    registry_cacert: RegistryCaCert = None,
    registry_cert: RegistryCert = None,
    registry_key: RegistryKey = None,
    registry_server_name: RegistryServerName = "",
    data_dir: Annotated[
        Path,
        typer.Option(
            envvar="TIANLU_DATA_DIR",
            help="Holds accounts, sessions, audit log and last known catalogue. Made if missing.",
        ),
    ] = Path(".tianlu/console"),
    base_path: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_BASE_PATH",
            help="Where the console's addresses begin, as behind the gateway; / for the root.",
        ),
    ] = "/console",
    run_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TIANLU_RUN_FILE",
            help="Written as JSON once it serves; has the first-visit link while it is due.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option(envvar="TIANLU_LOG_LEVEL", help="How much to log.")
    ] = LogLevel.INFO,
) -> None:
    """Serve the web console.

    It reads the catalogue through the SDK, keeps a copy on disk and goes on showing it while the
    registry is away. What people do in it is done by its own user of the registry, in their name in
    its audit log. On the first start a link in the run file (`tianlu up` prints it) creates the
    first administrator.
    """
    configure_logging(log_level)
    try:
        settings = Settings(
            listen=ListenAddress.parse(listen),
            registry=tuple(part.strip() for part in registry.split(",") if part.strip()),
            access=registry_access(
                user=registry_user,
                password_file=registry_password_file,
                cacert=registry_cacert,
                cert=registry_cert,
                key=registry_key,
                server_name=registry_server_name,
            ),
            data_dir=data_dir.absolute(),
            base_path=base_path.rstrip("/"),
            run_file=run_file and run_file.absolute(),
        )
        _run(settings)
    except (CannotStart, InvalidInput) as error:
        typer.echo(f"tianlu console: {error}", err=True)
        raise typer.Exit(1) from error


def _run(settings: Settings) -> None:
    # The web framework and the database take a second to import, which `tianlu --help` and a
    # wrong flag need not wait for.
    import uvloop

    from tianlu_console.server import serve

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
