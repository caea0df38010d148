"""Who a command is towards the registry, and whom it takes for the registry.

Every command that has `--endpoints` gets these options too: `add_options` puts them beside its own,
and keeps them from its function. What was given stands in a context variable while the function
runs, where `credentials` finds it.

There is no option that switches verification off: a connection that believes any certificate tells
its password to whoever answers. `--cacert` and `--server-name` cover what it is used for.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tianlu._credentials import Credentials, resolve_credentials, user_named
from tianlu._errors import InvalidInput

if TYPE_CHECKING:
    from typer._click import Command

_PANEL: Final = "Who calls, and whom to trust"

_FLAGS: Final = {
    "user": "--user",
    "password": "--user",
    "password_file": "--password-file",
    "token": "--token",
    "ca_file": "--cacert",
    "cert_file": "--cert",
    "key_file": "--key",
    "server_name": "--server-name",
}
"""Which option an argument of the SDK's comes from."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says; None where it says nothing."""

    user: str | None = None
    password_file: Path | None = None
    token: str | None = None
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


_given: ContextVar[Given] = ContextVar("tianlu_access", default=Given())  # noqa: B039 - frozen


def _prototype(
    access_user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="NAME[:PASSWORD]",
            help="Who calls; asks for the password if it is nowhere. Variables: TIANLU_USER, "
            "TIANLU_PASSWORD.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="Its first line is the password. Variable: TIANLU_PASSWORD_FILE.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="A token instead of a user, such as a JWT. Variable: TIANLU_TOKEN.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_cacert: Annotated[
        Path | None,
        typer.Option(
            "--cacert",
            metavar="FILE",
            help="Authorities that https:// endpoints are verified by. Variable: TIANLU_CACERT.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_cert: Annotated[
        Path | None,
        typer.Option(
            "--cert",
            metavar="FILE",
            help="Certificate to show to the registry. Variable: TIANLU_CERT.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="FILE",
            help="Its private key. Variable: TIANLU_KEY.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_server_name: Annotated[
        str | None,
        typer.Option(
            "--server-name",
            metavar="NAME",
            help="The name in the registry's certificate, if it is not the endpoint's. Variable: "
            "TIANLU_SERVER_NAME.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> None:
    """Carry the options: typer makes them from this signature. Never called.

    The names have a prefix that keeps them apart from the commands' own.
    """


def add_options(command: Command) -> Command:
    """Give these options to `command` and to those below it, wherever there is `--endpoints`."""
    for leaf in _leaves(command):
        taken = {option for param in leaf.params for option in param.opts}
        if "--endpoints" not in taken or "--user" in taken or leaf.callback is None:
            continue
        leaf.params = [*leaf.params, *_options()]
        leaf.callback = _taking_access(leaf.callback)
    return command


def credentials() -> Credentials:
    """Return who this command is, asking for a password if one is missing.

    Raises:
        InvalidInput: what was given cannot be; `field` names the option.
    """
    given = _given.get()
    name, colon, password = (given.user or "").partition(":")
    try:
        return _resolved(given, name, password if colon else None)
    except InvalidInput as error:
        if error.field != "password":
            raise InvalidInput(_FLAGS.get(error.field, error.field), error.problem) from error
    return _resolved(given, name, ask_password(f"Password of {user_named(name)}"))


def ask_password(prompt: str, *, twice: bool = False) -> str:
    """Return what a person types, unseen.

    Args:
        twice: ask again, so that a mistyped new password is noticed.

    Raises:
        InvalidInput: there is nobody to ask, or the two differ.
    """
    try:
        with Path("/dev/tty").open("rb"):
            pass
    except OSError as error:
        raise InvalidInput(
            "--user", "a password is needed, and there is no terminal to ask for it on: give a file"
        ) from error
    typed = getpass.getpass(f"{prompt}: ")
    if twice and getpass.getpass("Again: ") != typed:
        raise InvalidInput("", "the two passwords differ; nothing was changed")
    return typed


def _resolved(given: Given, name: str, password: str | None) -> Credentials:
    return resolve_credentials(
        user=name if given.user is not None else None,
        password=password,
        password_file=given.password_file,
        token=given.token,
        ca_file=given.cacert,
        cert_file=given.cert,
        key_file=given.key,
        server_name=given.server_name,
    )


def _leaves(command: Command) -> Iterator[Command]:
    below = getattr(command, "commands", None)
    if below is None:
        yield command
        return
    for one in below.values():
        yield from _leaves(one)


def _options() -> list[Any]:
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command()(_prototype)
    return typer.main.get_command(app).params


def _taking_access(callback: Callable[..., Any]) -> Callable[..., Any]:
    names = tuple(Given.__dataclass_fields__)

    @wraps(callback)
    def run(**arguments: Any) -> Any:  # noqa: ANN401 - whatever the command returns
        given = Given(**{name: arguments.pop(f"access_{name}") for name in names})
        before = _given.set(given)
        try:
            return callback(**arguments)
        finally:
            _given.reset(before)

    return run
