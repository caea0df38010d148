"""`tianlu user`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tianlu._cli import options
from tianlu._cli.access import ask_password
from tianlu._cli.calls import call, fail
from tianlu._cli.output import Data, show
from tianlu._credentials import read_password_file
from tianlu._errors import InvalidInput

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, add, change and delete users, and their roles. Works with any etcd v3 cluster.",
)

LIST_HEADER = ("USER",)
HEADER = ("USER", "ROLES")
CHANGED_HEADER = ("USER", "DONE")

User = Annotated[str, typer.Argument(help="The user's name.")]
Role = Annotated[str, typer.Argument(help="The role's name.")]
NewPassword = Annotated[
    Path | None,
    typer.Option(
        "--new-password-file",
        metavar="FILE",
        help="Its first line is the new password; asked for on the terminal if not given.",
    ),
]


@app.command("list")
def list_(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """List the users.

    Examples:

      tianlu user list --user root
    """

    async def work(client: AsyncClient) -> tuple[str, ...]:
        return await client.auth.users()

    found = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    show(output, {"users": found}, LIST_HEADER, [(name,) for name in found])


@app.command()
def get(
    user: User,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Show a user's roles. Everybody may ask for himself.

    Examples:

      tianlu user get ann --user ann
    """

    async def work(client: AsyncClient) -> tuple[str, ...]:
        return await client.auth.roles_of(user)

    roles = call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    show(output, {"user": user, "roles": roles}, HEADER, [(user, ", ".join(roles))])


@app.command()
def add(
    user: User,
    new_password_file: NewPassword = None,
    no_password: Annotated[
        bool,
        typer.Option("--no-password", help="Known by the common name of a certificate alone."),
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Add a user, who may do nothing until a role is granted.

    Examples:

      tianlu user add ann

      tianlu user add mesher --new-password-file mesher.password

      tianlu user add ben --no-password
    """
    if no_password and new_password_file is not None:
        fail(InvalidInput("--no-password", "give this or --new-password-file, not both"))
    password = None if no_password else _new_password(user, new_password_file)
    _change(
        lambda client: client.auth.add_user(user, password),
        *(endpoints, output, timeout, user, "added"),
    )


@app.command()
def passwd(
    user: User,
    new_password_file: NewPassword = None,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Give a user another password. Who is logged in with the old one must log in again.

    Examples:

      tianlu user passwd ann --user root
    """
    password = _new_password(user, new_password_file)
    _change(
        lambda client: client.auth.change_password(user, password),
        *(endpoints, output, timeout, user, "password changed"),
    )


@app.command()
def delete(
    user: User,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Delete a user.

    Examples:

      tianlu user delete ann --user root
    """
    _change(
        lambda client: client.auth.delete_user(user),
        *(endpoints, output, timeout, user, "deleted"),
    )


@app.command("grant-role")
def grant_role(
    user: User,
    role: Role,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Give a user a role. The role root is there from the beginning.

    Examples:

      tianlu user grant-role ann shop
    """
    _change(
        lambda client: client.auth.grant_role(user, role),
        *(endpoints, output, timeout, user, f"has role {role}"),
    )


@app.command("revoke-role")
def revoke_role(
    user: User,
    role: Role,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Take a role from a user; it counts at once.

    Examples:

      tianlu user revoke-role ann shop --user root
    """
    _change(
        lambda client: client.auth.revoke_role(user, role),
        *(endpoints, output, timeout, user, f"no longer has role {role}"),
    )


def _change(
    work: Callable[[AsyncClient], Awaitable[None]],
    endpoints: str,
    output: options.Output,
    timeout: float,
    user: str,
    done: str,
) -> None:
    call(work, endpoints=endpoints, namespace="default", timeout_seconds=timeout)
    data: dict[str, Data] = {"user": user, "done": done}
    show(output, data, CHANGED_HEADER, [(user, done)])


def _new_password(user: str, file: Path | None) -> str:
    try:
        if file is not None:
            return read_password_file("--new-password-file", file)
        return ask_password(f"New password of {user}", twice=True)
    except InvalidInput as error:
        option = "--new-password-file" if error.field == "--user" else error.field
        fail(InvalidInput(option, error.problem))
