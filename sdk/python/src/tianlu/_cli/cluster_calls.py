"""Runs a subcommand's work on the nodes of a cluster, each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tianlu._cli.access import credentials
from tianlu._cli.calls import fail
from tianlu._cluster.node import Nodes
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint, parse_endpoints
from tianlu._errors import TianluError

T = TypeVar("T")


def ask_cluster(
    work: Callable[[Nodes, Sequence[Endpoint]], Awaitable[T]],
    *,
    endpoints: str,
    timeout_seconds: float,
) -> T:
    """Run `work` with connections and the endpoints given; return what it returns.

    Raises:
        typer.Exit: it failed; one line has been written to standard error.
    """

    async def run(who: Credentials) -> T:
        given = parse_endpoints(endpoints)
        async with Nodes(timeout_seconds, who) as nodes:
            return await work(nodes, given)

    try:
        return asyncio.run(run(credentials()))
    except TianluError as error:
        fail(error)
