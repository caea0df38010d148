"""`tianlu kv`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tianlu._cli import options
from tianlu._cli.calls import EXIT_REFUSED, call
from tianlu._cli.output import show

if TYPE_CHECKING:
    from tianlu._client import AsyncClient
    from tianlu._key_value import KeyRange, KeyValue

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Read and write the registry's raw keys, as etcdctl does.",
)

HEADER = ("KEY", "VALUE", "REVISION", "VERSION", "LEASE")

Key = Annotated[str, typer.Argument(help="The key.")]
Prefix = Annotated[bool, typer.Option("--prefix", help="All keys that begin with KEY.")]


@app.command()
def get(
    key: Key,
    prefix: Prefix = False,
    revision: Annotated[int, typer.Option(min=0, help="As of this revision; 0: now.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="At most so many keys; 0: all.")] = 0,
    keys_only: Annotated[bool, typer.Option("--keys-only", help="Leave out the values.")] = False,
    value_only: Annotated[
        bool, typer.Option("--value-only", help="Write the values alone, as they are.")
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Read a key, or all keys with a prefix. Exit status 1 if there is none.

    Examples:

      tianlu kv get greeting

      tianlu kv get /tianlu/v1/default/ --prefix --keys-only
    """

    async def work(client: AsyncClient) -> KeyRange:
        return await client.kv.get(
            key, prefix=prefix, revision=revision, limit=limit, keys_only=keys_only
        )

    found = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    if value_only:
        for item in found.items:
            sys.stdout.buffer.write(item.value + b"\n")
    elif found.items or output is not options.Output.TABLE:
        show(output, found, HEADER, [key_row(item) for item in found.items])
    if not found.items and not prefix:
        typer.echo(f"tianlu: key {key!r} does not exist", err=True)
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def put(
    key: Key,
    value: Annotated[str, typer.Argument(help="The value; - reads it from standard input.")],
    lease: Annotated[
        str, typer.Option(metavar="HEX", help="The key ends with this lease, as etcdctl writes it.")
    ] = "0",
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Write a key.

    Examples:

      tianlu kv put greeting hello

      tianlu kv put picture - < picture.png
    """
    try:
        lease_id = int(lease, 16)
    except ValueError:
        raise typer.BadParameter(f"{lease!r} is not hexadecimal", param_hint="--lease") from None
    content = sys.stdin.buffer.read() if value == "-" else value.encode()

    async def work(client: AsyncClient) -> int:
        return await client.kv.put(key, content, lease=lease_id)

    revision = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    show(output, {"key": key, "revision": revision}, ("KEY", "REVISION"), [(key, str(revision))])


@app.command("del")
def delete(
    key: Key,
    prefix: Prefix = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Delete a key, or all keys with a prefix. Exit status 1 if there was none.

    Examples:

      tianlu kv del greeting

      tianlu kv del cache/ --prefix
    """

    async def work(client: AsyncClient) -> int:
        return await client.kv.delete(key, prefix=prefix)

    deleted = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    show(output, {"deleted": deleted}, ("DELETED",), [(str(deleted),)])
    if not deleted:
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def compact(
    revision: Annotated[int, typer.Argument(min=1, help="Forget history before this revision.")],
    physical: Annotated[
        bool, typer.Option("--physical", help="Wait until the space has been given back.")
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Forget the history of keys before a revision. What keys are now stays.

    Examples:

      tianlu kv compact 1200
    """

    async def work(client: AsyncClient) -> int:
        return await client.kv.compact(revision, physical=physical)

    now = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    show(
        output,
        {"compacted": revision, "revision": now},
        ("COMPACTED", "REVISION"),
        [(str(revision), str(now))],
    )


def key_row(item: KeyValue) -> tuple[str, ...]:
    """Return a key's row under HEADER."""
    return (
        item.key.decode(errors="backslashreplace"),
        item.value.decode(errors="backslashreplace"),
        str(item.mod_revision),
        str(item.version),
        f"{item.lease:x}" if item.lease else "",
    )
