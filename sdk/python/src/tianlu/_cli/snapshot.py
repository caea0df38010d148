"""`tianlu snapshot save`. The registry's distribution adds `verify` and `restore`, which read what
only a registry can."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tianlu._cli import options
from tianlu._cli.cluster_calls import ask_cluster
from tianlu._cli.output import bytes_text, show
from tianlu._cluster.node import Nodes
from tianlu._cluster.snapshot_save import Progress, SavedSnapshot, save_snapshot
from tianlu._endpoint import Endpoint

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Save, check and restore copies of everything that a registry holds.",
)

SAVED_HEADER = ("FILE", "SIZE", "REVISION", "SHA256", "FROM")


@app.callback()
def _snapshot() -> None:
    """Keep `save` a command of a group even while it is the only one."""


@app.command()
def save(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to save it.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there already.")
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.1,
            max=3600.0,
            envvar="TIANLU_TIMEOUT",
            help="Seconds of silence after which to give up.",
        ),
    ] = 30.0,
) -> None:
    """Save a copy of the whole registry, from the first endpoint that answers.

    Nothing stops meanwhile. The file is complete and checked, or it is not there: it grows as
    FILE.part. It holds everything, secrets included, and only its owner may read it.

    Examples:

      tianlu snapshot save backup.db

      tianlu snapshot save /backup/$(date +%F).db --endpoints 10.0.0.2:2379
    """

    async def work(nodes: Nodes, given: Sequence[Endpoint]) -> SavedSnapshot:
        with _progress_bar() as progress:
            return await save_snapshot(nodes, given, file, replace=force, progress=progress)

    saved = ask_cluster(work, endpoints=endpoints, timeout_seconds=timeout)
    row = (saved.file, bytes_text(saved.bytes), str(saved.revision), saved.sha256, saved.endpoint)
    show(output, saved, SAVED_HEADER, [row])


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Show progress on standard error, if a person looks at it."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with typer.progressbar(length=1, label="saving", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield progress
