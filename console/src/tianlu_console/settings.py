"""What a console is told at its start."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tianlu.registry_access import NOBODY, RegistryAccess

BASE_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


class CannotStart(Exception):
    """The console cannot start; the message is the one line that says what and what to do."""


class InvalidSetting(CannotStart):
    """A setting cannot be; the message names its flag and what would be right."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where the console accepts connections: a host and port, or the path of a Unix socket.

    Attributes:
        port: 0 lets the kernel choose.
        unix_path: if set, host and port mean nothing.
    """

    host: str = ""
    port: int = 0
    unix_path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "HOST:PORT", "[IPV6]:PORT" or "unix:PATH". Raises `InvalidSetting`."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path:
                raise InvalidSetting(
                    "--listen: unix: needs a path, as in unix:/run/tianlu/console.sock"
                )
            return cls(unix_path=Path(path))
        host, colon, port = text.rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise InvalidSetting(f"--listen: {text!r} is neither HOST:PORT nor unix:PATH")
        return cls(host=host.strip("[]"), port=int(port))

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """One console's settings, checked as a whole when made.

    Attributes:
        registry: endpoints of the registry as the SDK takes them, in the order they are tried.
        access: who the console is towards the registry.
        data_dir: holds console.db and the catalogue's snapshot; created if missing.
        base_path: where addresses begin, such as "/console"; "" for the root.
        run_file: written once the console serves; None: not written.
    """

    listen: ListenAddress
    registry: tuple[str, ...]
    data_dir: Path
    base_path: str = "/console"
    run_file: Path | None = None
    access: RegistryAccess = field(default_factory=lambda: NOBODY)

    def __post_init__(self) -> None:
        """Raise `InvalidSetting` for values that cannot be."""
        if not self.registry:
            raise InvalidSetting("--registry: name at least one endpoint, as in 127.0.0.1:2379")
        if not BASE_PATH.fullmatch(self.base_path):
            raise InvalidSetting(
                f"--base-path: {self.base_path!r} must begin with / and not end with it"
            )
