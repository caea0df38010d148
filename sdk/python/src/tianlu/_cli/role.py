"""`tianlu role`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tianlu._cli import options
from tianlu._cli.calls import call, fail
from tianlu._cli.output import Data, show
from tianlu._errors import InvalidInput
from tianlu._key_range import ALL, after_prefix
from tianlu._users import Access, Permission

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, add, change and delete roles: what users may do. Works with any etcd v3 cluster.",
)

LIST_HEADER = ("ROLE",)
HEADER = ("ROLE", "ACCESS", "KEYS")
CHANGED_HEADER = ("ROLE", "DONE")

Role = Annotated[str, typer.Argument(help="The role's name.")]
Key = Annotated[str, typer.Argument(help="The key, or where the range begins.")]
RangeEnd = Annotated[
    str | None,
    typer.Argument(help="Where the range ends; this key is not in it.", show_default=False),
]
Prefix = Annotated[bool, typer.Option("--prefix", help='All keys that begin with KEY; "": all.')]
FromKey = Annotated[bool, typer.Option("--from-key", help="All keys from KEY on.")]


@app.command("list")
def list_(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """List the roles.

    Examples:

      tianlu role list --user root
    """

    async def work(client: AsyncClient) -> tuple[str, ...]:
        return await client.auth.roles()

    found = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    show(output, {"roles": found}, LIST_HEADER, [(name,) for name in found])


@app.command()
def get(
    role: Role,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Show what a role permits. Who has it may ask.

    Examples:

      tianlu role get shop
    """

    async def work(client: AsyncClient) -> tuple[Permission, ...]:
        return await client.auth.permissions(role)

    found = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    data = {"role": role, "permissions": found}
    show(output, data, HEADER, [(role, one.access.value, keys_text(one)) for one in found])


@app.command()
def add(
    role: Role,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Add a role that permits nothing yet.

    Examples:

      tianlu role add shop
    """
    _change(lambda c: c.auth.add_role(role), endpoints, output, timeout, role, "added")


@app.command()
def delete(
    role: Role,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Delete a role; its users lose it.

    Examples:

      tianlu role delete shop --user root
    """
    _change(lambda c: c.auth.delete_role(role), endpoints, output, timeout, role, "deleted")


@app.command("grant-permission")
def grant_permission(
    role: Role,
    access: Annotated[Access, typer.Argument(help="What is permitted.")],
    key: Key,
    range_end: RangeEnd = None,
    prefix: Prefix = False,
    from_key: FromKey = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Let a role read or write keys. The catalogue's keys begin with /tianlu/v1/.

    Examples:

      tianlu role grant-permission shop readwrite /shop/ --prefix

      tianlu role grant-permission mesher read /tianlu/v1/ --prefix
    """
    end = _range_end(range_end, prefix, from_key)
    _change(
        lambda c: c.auth.grant_permission(role, access, key, prefix=prefix, range_end=end),
        *(endpoints, output, timeout, role, f"{access.value} granted"),
    )


@app.command("revoke-permission")
def revoke_permission(
    role: Role,
    key: Key,
    range_end: RangeEnd = None,
    prefix: Prefix = False,
    from_key: FromKey = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Take a permission from a role. The range must be the one that it was granted on.

    Examples:

      tianlu role revoke-permission shop /shop/ --prefix
    """
    end = _range_end(range_end, prefix, from_key)
    _change(
        lambda c: c.auth.revoke_permission(role, key, prefix=prefix, range_end=end),
        *(endpoints, output, timeout, role, "permission revoked"),
    )


def keys_text(permission: Permission) -> str:
    """Return a range as a person reads it."""
    key, end = permission.key.decode(errors="backslashreplace"), permission.range_end
    if not end:
        return key
    if end == ALL:
        return "all keys" if permission.key == ALL else f"from {key} on"
    if end == after_prefix(permission.key):
        return f"{key}…"
    return f"from {key} up to {end.decode(errors='backslashreplace')}"


def _range_end(range_end: str | None, prefix: bool, from_key: bool) -> bytes | None:
    if sum((range_end is not None, prefix, from_key)) > 1:
        fail(InvalidInput("--prefix", "give one of RANGE_END, --prefix and --from-key"))
    if from_key:
        return ALL
    return None if range_end is None else range_end.encode()


def _change(
    work: Callable[[AsyncClient], Awaitable[None]],
    endpoints: str,
    output: options.Output,
    timeout: float,
    role: str,
    done: str,
) -> None:
    call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    data: dict[str, Data] = {"role": role, "done": done}
    show(output, data, CHANGED_HEADER, [(role, done)])
