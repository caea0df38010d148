"""`tianlu subscribers`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from tianlu._cli import options
from tianlu._cli.calls import call
from tianlu._cli.output import show
from tianlu._model import Subscriber
from tianlu._view import Listing

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(add_completion=False)

HEADER = ("SUBSCRIBER", "PEER", "NAMESPACE", "SERVICES", "SENT", "APPLIED", "SINCE")


@app.command()
def subscribers(
    service: Annotated[str, typer.Argument(help="Default: all of the namespace.")] = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """List who watches the catalogue, and which revision each has applied.

    Examples:

      tianlu subscribers orders
    """

    async def work(client: AsyncClient) -> Listing[Subscriber]:
        return await client.list_subscribers("" if all_namespaces else None, service)

    found = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    rows = [
        (
            one.subscriber,
            one.peer,
            one.namespace or "*",
            " ".join(one.services) or "*",
            str(one.sent_revision),
            str(one.applied_revision or ""),
            f"{max(0.0, time.time() - one.since_unix_ms / 1000):.0f}s",
        )
        for one in found
    ]
    show(output, {"revision": found.revision, "subscribers": found.items}, HEADER, rows)
