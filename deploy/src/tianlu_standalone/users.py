"""The registry's users of a data directory, and switching authentication on and off.

DATA_DIR/auth/NAME.password holds each user's password, for its owner's eyes only. Files are written
before users are made, users before authentication is switched on, and each step looks at what is
there already: whatever it was interrupted by, running it again completes it.

    user       role
    root       root               people and scripts that administer
    mesher     catalogue-reader   follows the catalogue
    gateway    catalogue-reader   the same; callers of the registry come with tokens of their own
    console    catalogue-writer   shows the catalogue, isolates and restores instances
    demo       catalogue-writer   the demo shop registers

That the directory is there means that authentication is to be on.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tianlu import Access, AsyncClient, TianluError, Unauthenticated
from tianlu_standalone.datadir import DataDir, StartError

ROOT: Final = "root"
READER: Final = "catalogue-reader"
WRITER: Final = "catalogue-writer"
CATALOGUE: Final = "/tianlu/v1/"
"""Where all keys of the catalogue begin."""

ROLES: Final = {READER: Access.READ, WRITER: Access.READWRITE}
USERS: Final = {
    ROOT: ROOT,
    "mesher": READER,
    "gateway": READER,
    "console": WRITER,
    "demo": WRITER,
}

_PASSWORD_BYTES: Final = 24
_TIMEOUT_SECONDS: Final = 30.0
"""For each step: a registry that has just started may still elect its leader."""


@dataclass(frozen=True, slots=True)
class Users:
    """The users' passwords on disk."""

    directory: Path

    @classmethod
    def of(cls, data: DataDir) -> Users:
        return cls(data.root / "auth")

    @classmethod
    def open(cls, data: DataDir, asked: bool | None) -> Users:
        """Return the users, with their passwords if authentication is to be on.

        Args:
            asked: whether it shall be; None: as it was.

        Raises:
            StartError: passwords cannot be written.
        """
        users = cls.of(data)
        if asked or (asked is None and users.wanted):
            users.write()
        return users

    @property
    def wanted(self) -> bool:
        """Whether authentication is to be on."""
        return self.directory.is_dir()

    def password_file(self, user: str) -> Path:
        return self.directory / f"{user}.password"

    def password(self, user: str) -> str:
        """Return a user's password: the file's first line, as all parts read it."""
        return self.password_file(user).read_text().partition("\n")[0].removesuffix("\r")

    def flags(self, user: str) -> tuple[str, ...]:
        """Return what tells a part who it is; nothing while authentication is off."""
        if not self.wanted:
            return ()
        password = str(self.password_file(user))
        return ("--registry-user", user, "--registry-password-file", password)

    def environment(self, user: str) -> dict[str, str]:
        """Return what tells an application of the SDK's who it is."""
        if not self.wanted:
            return {}
        password = str(self.password_file(user))
        return {"TIANLU_USER": user, "TIANLU_PASSWORD_FILE": password}

    def write(self) -> None:
        """Make the passwords that are missing.

        Raises:
            StartError: they cannot be written.
        """
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            for user in USERS:
                if not self.password_file(user).exists():
                    _write_secret(self.password_file(user), secrets.token_urlsafe(_PASSWORD_BYTES))
        except OSError as error:
            raise StartError(f"cannot write {self.directory}: {error.strerror}") from error

    def forget(self) -> None:
        """Remove the passwords: authentication is to be off from now on."""
        shutil.rmtree(self.directory, ignore_errors=True)


async def switch_on(users: Users, registry: str) -> None:
    """See that users and roles are as they should be, and that authentication is on.

    Args:
        registry: endpoints.

    Raises:
        StartError: it cannot be done; what to do stands in the message.
    """
    try:
        async with _client(users, registry, ROOT) as client:
            enabled = (await client.auth.status()).enabled
            await _make_roles(client)
            await _make_users(users, client, registry, checked=enabled)
            if not enabled:
                await client.auth.enable()
    except Unauthenticated as error:
        raise StartError(
            f"the registry does not take the password in {users.password_file(ROOT)}: write the"
            " present password of root there, or give root this one"
        ) from error
    except TianluError as error:
        raise StartError(f"authentication cannot be switched on: {error}") from error


async def switch_off(users: Users, registry: str) -> None:
    """See that authentication is off, then forget the passwords.

    Raises:
        StartError: it cannot be done.
    """
    try:
        async with _client(users, registry, ROOT) as client:
            if (await client.auth.status()).enabled:
                await client.auth.disable()
    except TianluError as error:
        raise StartError(f"authentication cannot be switched off: {error}") from error
    users.forget()


def _client(users: Users, registry: str, user: str) -> AsyncClient:
    return AsyncClient(
        registry,
        name="tianlu up",
        timeout_seconds=_TIMEOUT_SECONDS,
        user=user,
        password_file=users.password_file(user),
    )


async def _make_roles(client: AsyncClient) -> None:
    there = set(await client.auth.roles())
    for role, access in ROLES.items():
        if role not in there:
            await client.auth.add_role(role)
        permitted = await client.auth.permissions(role)
        if not any(one.access is access and one.key == CATALOGUE.encode() for one in permitted):
            await client.auth.grant_permission(role, access, CATALOGUE, prefix=True)


async def _make_users(users: Users, client: AsyncClient, registry: str, *, checked: bool) -> None:
    """Make the users that are missing, and mend those that are not as they should be.

    Args:
        checked: whether the registry checks passwords now, so that a good one can be left alone: a
            change ends its user's tokens.
    """
    there = set(await client.auth.users())
    for user, role in USERS.items():
        password = users.password(user)
        if user not in there:
            await client.auth.add_user(user, password)
        elif not checked or not await _logs_in(users, registry, user):
            await client.auth.change_password(user, password)
        if role not in await client.auth.roles_of(user):
            await client.auth.grant_role(user, role)


async def _logs_in(users: Users, registry: str, user: str) -> bool:
    try:
        async with _client(users, registry, user) as client:
            await client.auth.roles_of(user)
    except Unauthenticated:
        return False
    return True


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
