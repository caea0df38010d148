"""Options that every subcommand takes alike."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Output(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Endpoints = Annotated[
    str,
    typer.Option(
        "--endpoints",
        "-e",
        envvar="TIANLU_ENDPOINTS",
        help="Registry endpoints, with commas between: host:port, http://host:port, unix:/path.",
    ),
]

Namespace = Annotated[
    str,
    typer.Option("--namespace", "-n", envvar="TIANLU_NAMESPACE", help="Namespace of the service."),
]

OutputOption = Annotated[
    Output, typer.Option("--output", "-o", envvar="TIANLU_OUTPUT", help="How to write results.")
]

Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.1, max=3600.0, envvar="TIANLU_TIMEOUT", help="Seconds for one call."
    ),
]

Metadata = Annotated[
    list[str],
    typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="May be given several times."),
]

ServiceArgument = Annotated[str, typer.Argument(help="Name, or name.namespace.")]
InstanceArgument = Annotated[str, typer.Argument(help="Id of the instance.")]

ENDPOINTS_DEFAULT = "127.0.0.1:8080"
NAMESPACE_DEFAULT = "default"
TIMEOUT_DEFAULT = 5.0
