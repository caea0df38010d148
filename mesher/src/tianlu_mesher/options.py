"""Options that mesher and gateway share, as typer declares them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Registry = Annotated[
    str,
    typer.Option(
        envvar="TIANLU_REGISTRY",
        help="The registry's endpoints, separated by commas: HOST:PORT, http://HOST:PORT, "
        "https://HOST:PORT or unix:PATH.",
    ),
]
DataDir = Annotated[
    Path,
    typer.Option(
        envvar="TIANLU_DATA_DIR",
        help="Holds what is needed between starts; one process at a time. Made if missing.",
    ),
]
SnapshotDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TIANLU_SNAPSHOT_DIR",
        help="The host snapshot, from which traffic is served while no registry can be reached. "
        "Default: DATA_DIR/snapshot.",
    ),
]
StatusListen = Annotated[
    str,
    typer.Option(
        envvar="TIANLU_STATUS_LISTEN",
        help="HOST:PORT of the status page: /healthz, /readyz, /metrics, /status, /routes.",
    ),
]
NodeId = Annotated[
    str,
    typer.Option(
        envvar="TIANLU_NODE_ID",
        help="This proxy's name in lists of subscribers. Default: host name and process id.",
    ),
]
Concurrency = Annotated[
    int, typer.Option(envvar="TIANLU_CONCURRENCY", help="Envoy's worker threads, 1 to 64.")
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        envvar="TIANLU_DRAIN_SECONDS",
        help="How long a stop waits for requests in flight, 0 to 600.",
    ),
]
RunFile = Annotated[
    Path | None,
    typer.Option(
        envvar="TIANLU_RUN_FILE",
        help="Written as JSON with the addresses once it serves, removed on a clean stop.",
    ),
]
LogLevelOption = Annotated[
    LogLevel, typer.Option(envvar="TIANLU_LOG_LEVEL", help="How much to log.")
]


def or_one_line(part: str, start: Callable[[], NoReturn]) -> NoReturn:
    """Call `start`; turn an error of ours into one line and exit code 1."""
    from tianlu import InvalidInput
    from tianlu_mesher.errors import MesherError

    try:
        start()
    except (MesherError, InvalidInput) as error:
        typer.echo(f"tianlu {part}: {error}", err=True)
        raise typer.Exit(1) from error
