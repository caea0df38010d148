"""Options by which a part of Tianlu says who it is towards the registry, as typer declares them.

Mesher, gateway and console take the same ones, so that one page of operations serves all. A part is
never asked for a password: it comes from a file, which is read anew at every login.

    registry_user: RegistryUser = "",
    ...
    client = AsyncClient(endpoints, **registry_access(user=registry_user, ...))
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypedDict

import typer

from tianlu._credentials import resolve_credentials
from tianlu._errors import InvalidInput

RegistryUser = Annotated[
    str,
    typer.Option(
        "--registry-user",
        envvar="TIANLU_REGISTRY_USER",
        metavar="NAME",
        help="Who this is, where the registry has authentication switched on.",
    ),
]
RegistryPasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--registry-password-file",
        envvar="TIANLU_REGISTRY_PASSWORD_FILE",
        metavar="FILE",
        help="Its first line is the password; read at every login.",
    ),
]
RegistryCaCert = Annotated[
    Path | None,
    typer.Option(
        "--registry-cacert",
        envvar="TIANLU_REGISTRY_CACERT",
        metavar="FILE",
        help="Authorities that https:// endpoints of the registry are verified by. Default: the "
        "system's.",
    ),
]
RegistryCert = Annotated[
    Path | None,
    typer.Option(
        "--registry-cert",
        envvar="TIANLU_REGISTRY_CERT",
        metavar="FILE",
        help="Certificate to show to a registry that asks for one.",
    ),
]
RegistryKey = Annotated[
    Path | None,
    typer.Option(
        "--registry-key",
        envvar="TIANLU_REGISTRY_KEY",
        metavar="FILE",
        help="Its private key.",
    ),
]
RegistryServerName = Annotated[
    str,
    typer.Option(
        "--registry-server-name",
        envvar="TIANLU_REGISTRY_SERVER_NAME",
        metavar="NAME",
        help="The name in the registry's certificates, if it is not the endpoints'.",
    ),
]

_OPTIONS: Final = {
    "user": "--registry-user",
    "password": "--registry-password-file",
    "password_file": "--registry-password-file",
    "ca_file": "--registry-cacert",
    "cert_file": "--registry-cert",
    "key_file": "--registry-key",
    "server_name": "--registry-server-name",
}


class RegistryAccess(TypedDict):
    """Arguments of a client: texts alone, so that they may stand in a file. No secrets."""

    user: str
    password_file: str
    token: str
    ca_file: str
    cert_file: str
    key_file: str
    server_name: str


NOBODY: Final = RegistryAccess(
    user="", password_file="", token="", ca_file="", cert_file="", key_file="", server_name=""
)


def registry_access(
    *,
    user: str,
    password_file: Path | None,
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    server_name: str,
) -> RegistryAccess:
    """Check the options and return them as a client's arguments, paths made absolute.

    Raises:
        InvalidInput: they cannot be, or a file cannot be read; `field` names the option.
    """
    access = RegistryAccess(
        user=user,
        password_file=_absolute(password_file),
        token="",
        ca_file=_absolute(cacert),
        cert_file=_absolute(cert),
        key_file=_absolute(key),
        server_name=server_name,
    )
    try:
        resolve_credentials(**access)
    except InvalidInput as error:
        raise InvalidInput(_OPTIONS.get(error.field, error.field), error.problem) from error
    return access


def _absolute(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())
