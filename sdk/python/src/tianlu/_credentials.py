"""Who a client says it is towards the registry, and whom it takes for the registry.

There are three ways to be somebody; a client has at most one of the first two:

    user and password   exchanged for a token by a login, and again whenever the token has ended
    token               one that somebody else has made: a JWT of the registry's; never renewed
    cert_file           a client certificate: its common name is the user, where the registry asks
                        for certificates and the call has no token

Source: etcd, client/v3/config.go; docs/auth.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from tianlu._errors import InvalidInput

if TYPE_CHECKING:
    import ssl

FILE_BYTES_MAX: Final = 1024 * 1024
"""Largest password, key or certificate file that is read: a mistaken path is told by this."""

VARIABLES: Final[Mapping[str, str]] = {
    "user": "TIANLU_USER",
    "password": "TIANLU_PASSWORD",
    "password_file": "TIANLU_PASSWORD_FILE",
    "token": "TIANLU_TOKEN",
    "ca_file": "TIANLU_CACERT",
    "cert_file": "TIANLU_CERT",
    "key_file": "TIANLU_KEY",
    "server_name": "TIANLU_SERVER_NAME",
}
"""Arguments and the environment variables that stand for them."""


class Arguments(TypedDict):
    """A client's arguments that say who it is."""

    user: str
    password: str | None
    password_file: Path | None
    token: str
    ca_file: Path | str
    cert_file: Path | str
    key_file: Path | str
    server_name: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows to the registry. Checked when made; secrets are not in its repr.

    Attributes:
        user: "" for none.
        password: None takes `password_file`.
        password_file: its first line is the password; read anew at every login, so that a password
            can be changed under a running client.
        token: "" for none.
        ca_file: PEM, the authorities that https endpoints are verified by; None takes the system's.
        cert_file, key_file: PEM, the client's certificate (with what leads to its authority) and
            its private key; both or neither.
        server_name: the name that the registry's certificate must have; "" for the endpoint's.
    """

    user: str = ""
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for what cannot be, files that cannot be read included."""
        has_password = self.password is not None or self.password_file is not None
        if self.user and self.token:
            raise InvalidInput("token", "give a token or a user, not both")
        if self.user and not has_password:
            raise InvalidInput("password", f"is needed for user {self.user!r}, or password_file")
        if has_password and not self.user:
            raise InvalidInput("user", "is needed: whose password is it?")
        if self.password is not None and self.password_file is not None:
            raise InvalidInput("password_file", "give password or password_file, not both")
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise InvalidInput("token", "has characters that no token has")
        self.read_password()
        self._check_certificates()

    def read_password(self) -> str:
        """Return the password as it is now; "" without a user.

        Raises:
            InvalidInput: the file cannot be read.
        """
        if self.password_file is None:
            return self.password or ""
        return read_password_file("password_file", self.password_file)

    def arguments(self) -> Arguments:
        """Return these as arguments of a client, for which the environment is not looked at."""
        return {
            "user": self.user,
            "password": self.password,
            "password_file": self.password_file,
            "token": self.token,
            "ca_file": self.ca_file or "",
            "cert_file": self.cert_file or "",
            "key_file": self.key_file or "",
            "server_name": self.server_name,
        }

    @property
    def certificate_files(self) -> tuple[tuple[str, Path], ...]:
        """The files that TLS needs, each with the argument that named it."""
        files = (
            ("ca_file", self.ca_file),
            ("cert_file", self.cert_file),
            ("key_file", self.key_file),
        )
        return tuple((name, path) for name, path in files if path is not None)

    def _check_certificates(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "cert_file"
            raise InvalidInput(missing, "is needed: a certificate and its key go together")
        for name, path in self.certificate_files:
            read_file(name, path)
        if self.certificate_files:
            check_pem(self)


def resolve_credentials(
    *,
    user: str | None = None,
    password: str | None = None,
    password_file: Path | str | None = None,
    token: str | None = None,
    ca_file: Path | str | None = None,
    cert_file: Path | str | None = None,
    key_file: Path | str | None = None,
    server_name: str | None = None,
) -> Credentials:
    """Return the credentials that arguments, or else the environment, name.

    Args: see `Credentials`. None takes the environment variable of the argument, "" means none. Who
        names a user does not get the environment's token, nor the other way round; passwords are
        looked for where there is a user.

    Raises:
        InvalidInput: they cannot be; `field` is the argument's name.
    """
    if user is None and token is None:
        user, token = _variable("user"), _variable("token")
    if user and password is None and password_file is None:
        password, password_file = _variable("password"), _variable("password_file")
        if password is not None:
            password_file = None
    return Credentials(
        user=user or "",
        password=password,
        password_file=_path(password_file),
        token=token or "",
        ca_file=_path(_variable("ca_file") if ca_file is None else ca_file),
        cert_file=_path(_variable("cert_file") if cert_file is None else cert_file),
        key_file=_path(_variable("key_file") if key_file is None else key_file),
        server_name=(_variable("server_name") if server_name is None else server_name) or "",
    )


def user_named(given: str) -> str:
    """Return the user that was given, or else the environment's; "" for none."""
    return given or _variable("user") or ""


def _variable(argument: str) -> str | None:
    return os.environ.get(VARIABLES[argument]) or None


def _path(text: Path | str | None) -> Path | None:
    return Path(text) if text else None


def read_password_file(name: str, path: Path) -> str:
    """Return a file's first line.

    Args:
        name: the argument that named it.

    Raises:
        InvalidInput: the file cannot be read, is no text, or begins with an empty line.
    """
    try:
        line = read_file(name, path).decode().partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InvalidInput(name, f"{path} is no UTF-8 text") from error
    if not line:
        raise InvalidInput(name, f"{path} has no password in its first line")
    return line


def read_file(name: str, path: Path) -> bytes:
    """Return the content of a small file.

    Args:
        name: the argument that named it.

    Raises:
        InvalidInput: it cannot be read, or is no such file by its size.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(name, f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > FILE_BYTES_MAX:
        raise InvalidInput(name, f"{path} is larger than {FILE_BYTES_MAX} bytes")
    return content


def check_pem(credentials: Credentials) -> None:
    """Check that certificates and key are what they should be: gRPC would only fail to connect.

    Raises:
        InvalidInput: a file is no PEM of its kind, or the key is another certificate's.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if credentials.ca_file is not None:
        try:
            context.load_verify_locations(credentials.ca_file)
        except ssl.SSLError as error:
            raise InvalidInput(
                "ca_file", f"{credentials.ca_file} holds no PEM certificate"
            ) from error
    if credentials.cert_file is not None and credentials.key_file is not None:
        try:
            # An encrypted key would ask for its password on the terminal.
            context.load_cert_chain(credentials.cert_file, credentials.key_file, password=_no_word)
        except ssl.SSLError as error:
            raise InvalidInput(
                "cert_file",
                f"{credentials.cert_file} and the key {credentials.key_file} are no pair of a PEM "
                "certificate and its unencrypted private key",
            ) from error


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Return what Python's own TLS takes, for plain HTTP requests to the registry.

    Raises:
        OSError: a file cannot be read any more.
    """
    import ssl

    context = ssl.create_default_context(
        cafile=None if credentials.ca_file is None else str(credentials.ca_file)
    )
    if credentials.cert_file is not None and credentials.key_file is not None:
        context.load_cert_chain(credentials.cert_file, credentials.key_file, password=_no_word)
    return context


def _no_word() -> str:
    return ""
