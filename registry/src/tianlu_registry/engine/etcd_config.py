"""How an existing etcd cluster is reached: where it is, how its members are known, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from tianlu_registry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """Where an etcd cluster is and how patient to be.

    Files are read when it is connected to: others take a restart.

    Attributes:
        endpoints: client addresses of members, at least one: ``http://host:port``,
            ``https://host:port``, ``host:port`` or ``unix:/path``.
        cacert: PEM file of who signs the members' certificates; empty takes the system's roots.
        cert, key: PEM files of the certificate that this node shows; both or neither.
        user, password_file: as whom this node works if etcd has users; both or neither. The file
            holds the password, a line end at its end does not count; it is read at each login.
        request_timeout_seconds: for one request with its repetitions. etcd's own limit is 5 s
            plus two election timeouts.
        status_interval_seconds: how old `status` may get, and how soon an idle store learns of
            revisions that others made.
    """

    endpoints: tuple[str, ...]
    cacert: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    password_file: str = ""
    request_timeout_seconds: float = 7.0
    status_interval_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidArgument("etcd_endpoints", "is empty; name at least one member")
        _check_pair("etcd_cert", self.cert, "etcd_key", self.key)
        _check_pair("etcd_user", self.user, "etcd_password_file", self.password_file)
        if self.request_timeout_seconds <= 0:
            raise InvalidArgument("request_timeout_seconds", "must be positive")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what ``https`` members are spoken to with.

        Raises:
            InvalidArgument: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_content("etcd_cacert", self.cacert),
            private_key=_content("etcd_key", self.key),
            certificate_chain=_content("etcd_cert", self.cert),
        )

    def password(self) -> str:
        """Return the password of `user`.

        Raises:
            InvalidArgument: the file cannot be read, or is not UTF-8.
        """
        content = _content("etcd_password_file", self.password_file) or b""
        try:
            return content.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidArgument("etcd_password_file", "is not UTF-8") from error


def _check_pair(one: str, first: str, other: str, second: str) -> None:
    if bool(first) != bool(second):
        missing = one if second else other
        raise InvalidArgument(missing, f"is missing; {one} and {other} go together")


def _content(field: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(field, f"{path} cannot be read: {error.strerror}") from error
