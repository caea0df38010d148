"""`tianlu auth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tianlu._cli import options
from tianlu._cli.calls import call
from tianlu._cli.output import show
from tianlu._users import AuthStatus

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Switch authentication on and off. Works with any etcd v3 cluster.",
)

HEADER = ("AUTHENTICATION", "REVISION")


@app.command()
def status(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Say whether the registry asks who calls. Anybody may ask this.

    Examples:

      tianlu auth status
    """

    async def work(client: AsyncClient) -> AuthStatus:
        return await client.auth.status()

    _show(output, call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout))


@app.command()
def enable(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Switch authentication on: from now on every call must say who it is from.

    Needs a user root with the role root. Everything that calls the registry needs a user before:
    docs/operations/authentication.md has the order of steps. Authentication that is on stays on.

    Examples:

      tianlu user add root

      tianlu user grant-role root root

      tianlu auth enable
    """

    async def work(client: AsyncClient) -> AuthStatus:
        await client.auth.enable()
        return await client.auth.status()

    _show(output, call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout))


@app.command()
def disable(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Switch authentication off: everybody may do everything. Users and roles stay.

    Examples:

      tianlu auth disable --user root
    """

    async def work(client: AsyncClient) -> AuthStatus:
        await client.auth.disable()
        return await client.auth.status()

    _show(output, call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout))


def _show(output: options.Output, found: AuthStatus) -> None:
    show(output, found, HEADER, [("on" if found.enabled else "off", str(found.revision))])
