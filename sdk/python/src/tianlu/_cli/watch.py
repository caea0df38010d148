"""`tianlu watch`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tianlu._cli import options
from tianlu._cli.calls import call
from tianlu._cli.output import show_event, state_of
from tianlu._view import Change

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Follow changes as they happen, until Ctrl-C."
)

Count = Annotated[int, typer.Option(min=0, help="Stop after so many changes; 0: never.")]


@app.command()
def services(
    service: Annotated[str | None, typer.Argument(help="Default: all of the namespace.")] = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Follow all namespaces.")
    ] = False,
    count: Count = 0,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Follow services and instances: first what is there, then what changes.

    JSON is written as one object a line.

    Examples:

      tianlu watch services

      tianlu watch services orders --output json
    """

    async def follow(client: AsyncClient) -> None:
        left = count
        space = "" if all_namespaces else None
        async with contextlib.aclosing(client.watch(service, space)) as changes:
            async for change in changes:
                show_event(output, change, _line(change))
                left -= 1
                if left == 0:
                    return

    call(_until_signal(follow), endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)


@app.command()
def kv(
    key: Annotated[str, typer.Argument(help="The key.")],
    prefix: Annotated[bool, typer.Option("--prefix", help="All keys that begin with KEY.")] = False,
    revision: Annotated[
        int, typer.Option(min=0, help="Begin with this revision; 0: with the next change.")
    ] = 0,
    count: Count = 0,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Follow raw keys.

    Examples:

      tianlu watch kv greeting

      tianlu watch kv /tianlu/v1/ --prefix --revision 1
    """

    async def follow(client: AsyncClient) -> None:
        left = count
        changes = client.kv.watch(key, prefix=prefix, start_revision=revision)
        async with contextlib.aclosing(changes):
            async for change in changes:
                item = change.item
                name = item.key.decode(errors="backslashreplace")
                value = item.value.decode(errors="backslashreplace")
                line = f"{item.mod_revision} {change.kind} {name} {value}".rstrip()
                show_event(output, change, line)
                left -= 1
                if left == 0:
                    return

    call(_until_signal(follow), endpoints=endpoints, namespace="default", timeout_seconds=timeout)


def _until_signal(
    follow: Callable[[AsyncClient], Coroutine[Any, Any, None]],
) -> Callable[[AsyncClient], Awaitable[None]]:
    """Return `follow`, ended quietly by SIGINT or SIGTERM."""

    async def work(client: AsyncClient) -> None:
        task = asyncio.ensure_future(follow(client))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return work


def _line(change: Change) -> str:
    """Return one change as a line: revision, what happened, service, instance, how it is now."""
    words = [str(change.revision), change.kind.value, str(change.key)]
    if not change.instance_id:
        return " ".join([*words, "(description)"])
    words.append(change.instance_id)
    if change.instance is not None and change.kind == "put":
        one = change.instance
        words += [one.authority() if one.ports else one.address, state_of(one)]
    return " ".join(words)
