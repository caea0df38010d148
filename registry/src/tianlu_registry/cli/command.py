"""The command `tianlu registry`."""

from __future__ import annotations

import typer

from tianlu_registry.cli.all_flags import Flags
from tianlu_registry.cli.etcd_command import EtcdCommand
from tianlu_registry.cli.failing import failed
from tianlu_registry.cli.flags import takes_flags
from tianlu_registry.cli.node import flag_of_field, node_config
from tianlu_registry.cli.serve import serve
from tianlu_registry.errors import InvalidArgument
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

app = typer.Typer(
    cls=EtcdCommand,
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode="markdown",
    help="Run a registry node: etcd's v3 API and Tianlu's catalogue on one port.",
)


@app.callback()
@takes_flags
def registry(flags: Flags) -> None:
    """Run a registry node until it is told to stop.

    One port serves etcd's v3 API (gRPC, and JSON under /v3/), the catalogue tianlu.v1 (gRPC, and
    JSON under /v1/), gRPC health and reflection, /health, /livez, /readyz, /version and /metrics.

    SIGTERM and Ctrl-C stop it: streams are told to go, calls in flight end, the data is safe.
    """
    try:
        status = serve(flags, node_config(flags))
    except InvalidArgument as error:
        raise failed(f"{flag_of_field(error.field)}: {error.problem}", EXIT_USAGE) from error
    except CannotStart as error:
        raise failed(str(error), error.exit_code) from error
    raise typer.Exit(status)
