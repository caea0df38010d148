"""`tianlu snapshot`: the SDK's `save`, and what only a registry can: `verify` and `restore`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, TypeVar

import typer

from tianlu._cli import options
from tianlu._cli.calls import EXIT_REFUSED, EXIT_USAGE
from tianlu._cli.output import bytes_text, show
from tianlu._cli.snapshot import save
from tianlu_registry.errors import InvalidArgument, RegistryError
from tianlu_registry.node.config import DEFAULT_CLUSTER_TOKEN, DEFAULT_PEER_URL, NodeConfig

if TYPE_CHECKING:
    from tianlu_registry.storage.snapshot_file import SnapshotInfo
    from tianlu_registry.storage.snapshot_probe import Progress

T = TypeVar("T")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Save, check and restore copies of everything that a registry holds.",
)
app.command()(save)

VERIFIED_HEADER: Final = ("HASH", "REVISION", "KEYS", "RECORDS", "LEASES", "SIZE", "INDEX", "TERM")
RESTORED_HEADER: Final = ("DATA DIR", "NAME", "MEMBER ID", "CLUSTER ID", "INDEX", "TERM")

_FLAGS: Final = {
    "snapshot": "FILE",
    "path": "FILE",
    "data_dir": "--data-dir",
    "name": "--name",
    "initial_cluster": "--initial-cluster",
    "cluster_token": "--initial-cluster-token",
    "peer_urls": "--initial-advertise-peer-urls",
}

SnapshotFile = Annotated[Path, typer.Argument(metavar="FILE", help="A file of snapshot save.")]


@app.command()
def verify(file: SnapshotFile, output: options.OutputOption = options.Output.TABLE) -> None:
    """Read all of a snapshot and say what it holds. Changes nothing; needs no registry.

    Its digest is compared, and every record is read as a registry would. Exit status 1 if it is
    damaged or incomplete.

    Examples:

      tianlu snapshot verify backup.db
    """
    # LMDB and the key index are loaded only for those who need them.
    from tianlu_registry.storage.snapshot_file import verify

    with _progress_bar("verifying") as progress:
        info = _or_fail(lambda: verify(file, progress))
    show(output, _verified(file, info), VERIFIED_HEADER, [_verified_row(info)])


@app.command()
def restore(
    file: SnapshotFile,
    name: Annotated[str, typer.Option(help="Name of the member to be.")] = "default",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="A new or empty directory; NAME.tianlu if not given.", show_default=False
        ),
    ] = None,
    initial_cluster: Annotated[
        str,
        typer.Option(
            help="All members of the new cluster, name=url,...; this one alone if not given."
        ),
    ] = "",
    initial_cluster_token: Annotated[
        str,
        typer.Option(help="Keeps the new cluster apart from the old one: give a new one."),
    ] = DEFAULT_CLUSTER_TOKEN,
    initial_advertise_peer_urls: Annotated[
        str, typer.Option(help="Where the other members will reach this one.")
    ] = DEFAULT_PEER_URL,
    output: options.OutputOption = options.Output.TABLE,
) -> None:
    """Make the data directory of a new cluster's member from a snapshot.

    Do it on every machine of the new cluster, with the same file, the same --initial-cluster and
    the same token; then start the members with these flags. Keys, leases and revisions go on where
    the snapshot ends; members of the old cluster are forgotten. The directory is there whole or not
    at all.

    Examples:

      tianlu snapshot restore backup.db --data-dir /var/lib/tianlu

      tianlu snapshot restore backup.db --name n1 --data-dir n1.tianlu --initial-cluster
      n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380
      --initial-cluster-token shop-2 --initial-advertise-peer-urls http://10.0.0.1:2380
    """
    from tianlu_registry.node.restored import RestoredMember, restore_member

    directory = data_dir or Path(f"{name}.tianlu")

    def work() -> RestoredMember:
        config = NodeConfig(
            data_dir=directory,
            name=name,
            peer_urls=tuple(url.strip() for url in initial_advertise_peer_urls.split(",")),
            initial_cluster=initial_cluster,
            cluster_token=initial_cluster_token,
        )
        with _progress_bar("restoring") as progress:
            return restore_member(file, config, progress)

    restored = _or_fail(work)
    ids, position = restored.identity, restored.position
    result = {
        "data_dir": str(directory),
        "name": name,
        "member_id": f"{ids.member_id:x}",
        "cluster_id": f"{ids.cluster_id:x}",
        "index": position.index,
        "term": position.term,
    }
    show(output, result, RESTORED_HEADER, [[str(value) for value in result.values()]])


def _verified(file: Path, info: SnapshotInfo) -> dict[str, str | int]:
    contents = info.contents
    return {
        "file": str(file),
        "hash": f"{info.hash:x}",
        "sha256": info.sha256,
        "revision": contents.revision,
        "keys": contents.keys,
        "records": contents.records,
        "leases": contents.leases,
        "bytes": info.size_bytes,
        "index": contents.applied.index,
        "term": contents.applied.term,
    }


def _verified_row(info: SnapshotInfo) -> tuple[str, ...]:
    contents = info.contents
    return (
        f"{info.hash:x}",
        str(contents.revision),
        str(contents.keys),
        str(contents.records),
        str(contents.leases),
        bytes_text(info.size_bytes),
        str(contents.applied.index),
        str(contents.applied.term),
    )


def _or_fail(work: Callable[[], T]) -> T:
    """Return what `work` returns, or say what is wrong on one line and exit."""
    try:
        return work()
    except RegistryError as error:
        _fail(error)


def _fail(error: RegistryError) -> NoReturn:
    text, status = str(error), EXIT_REFUSED
    if isinstance(error, InvalidArgument):
        text, status = f"{_FLAGS.get(error.field, error.field)}: {error.problem}", EXIT_USAGE
    typer.echo(f"tianlu: {' '.join(text.split())}", err=True)
    raise typer.Exit(status)


@contextmanager
def _progress_bar(label: str) -> Iterator[Progress]:
    """Show progress on standard error, if a person looks at it. A new total begins a new bar."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with typer.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield progress
