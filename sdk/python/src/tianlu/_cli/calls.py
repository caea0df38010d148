"""Runs a subcommand's work against the registry, and turns errors into one line and a status.

0  done
1  refused: not found, conflict, not allowed, limit reached, compacted
2  wrong usage: an argument that cannot be (the line names it)
3  no registry could be reached, or none answered in time
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import typer

from tianlu._cli.access import credentials
from tianlu._credentials import Credentials
from tianlu._errors import InvalidInput, ProtocolError, TianluError, Unavailable

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

T = TypeVar("T")

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3


def call(
    work: Callable[[AsyncClient], Awaitable[T]],
    *,
    endpoints: str,
    namespace: str,
    timeout_seconds: float,
) -> T:
    """Run `work` with a client of the command line's user and return what it returns.

    Raises:
        typer.Exit: it failed; one line has been written to standard error.
    """
    from tianlu._client import AsyncClient

    async def run(who: Credentials) -> T:
        async with AsyncClient(
            endpoints,
            namespace=namespace,
            timeout_seconds=timeout_seconds,
            **who.arguments(),
        ) as client:
            return await work(client)

    try:
        return asyncio.run(run(credentials()))
    except TianluError as error:
        fail(error)


def fail(error: TianluError) -> NoReturn:
    """Say what is wrong on one line, and exit."""
    text = " ".join(str(error).split())
    typer.echo(f"tianlu: {text}", err=True)
    raise typer.Exit(exit_status(error))


def exit_status(error: TianluError) -> int:
    """Return the exit status for an error; see the head of this module."""
    if isinstance(error, InvalidInput):
        return EXIT_USAGE
    if isinstance(error, Unavailable | ProtocolError):
        return EXIT_UNAVAILABLE
    return EXIT_REFUSED


def pairs(option: str, given: list[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a dictionary.

    Raises:
        InvalidInput: one has no "=" or no key.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidInput(option, f"{text!r} is not KEY=VALUE")
        found[key] = value
    return found
