"""Flags that say how an existing etcd cluster is reached, to stand on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar


@dataclass(frozen=True, slots=True)
class UnderlyingFlags:
    """How the cluster of `--etcd-endpoints` is spoken to."""

    panel: ClassVar[str] = "On an existing etcd"

    etcd_cacert: Annotated[
        str,
        "Who signs the certificates of --etcd-endpoints: a PEM file; the system's if not given.",
    ] = ""
    etcd_cert: Annotated[str, "The certificate that this node shows to etcd: a PEM file."] = ""
    etcd_key: Annotated[str, "Its private key: a PEM file."] = ""
    etcd_user: Annotated[
        str, "The user of etcd's as whom this node works: the catalogue is read and written so."
    ] = ""
    etcd_password_file: Annotated[str, "A file that holds that user's password."] = ""
