"""A server under test, of either kind: with and without TLS, killed and started again on demand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trustme
from cryptography.hazmat.primitives import serialization
from registry.etcd_process import EtcdProcess, free_port
from registry.registry_process import RegistryProcess

ETCDCTL = Path(sys.executable).parent / "etcdctl"

START_SECONDS_MAX = 120.0


class Process(Protocol):
    """What `EtcdProcess` and `RegistryProcess` have in common."""

    def start(self, deadline_seconds: float) -> None: ...
    def kill(self) -> None: ...


class SecureEtcd(EtcdProcess):
    """An etcd that serves by TLS."""

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.client_port}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that a program speaks to.

    Attributes:
        name: "etcd" or "tianlu".
        target: ``host:port``, the same over its whole life.
    """

    name: str
    target: str
    process: Process

    def etcdctl(self, *arguments: str) -> None:
        """Do something as somebody else than the program; waits until the server can."""
        options = [f"--endpoints={self.target}", "--command-timeout=30s"]
        command = [ETCDCTL, *options, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=40)

    def restart(self) -> None:
        """Kill the server and start it again on the same port."""
        self.process.kill()
        self.process.start(START_SECONDS_MAX)


def plain(name: str, directory: Path) -> Subject:
    """Return a server without TLS, not yet started."""
    if name == "etcd":
        etcd = EtcdProcess(directory)
        return Subject(name, etcd.endpoint.removeprefix("http://"), etcd)
    target = f"127.0.0.1:{free_port()}"
    url = f"http://{target}"
    return Subject(name, target, RegistryProcess(directory, *_registry_flags(url)))


def secure(name: str, directory: Path, certificates: Path) -> Subject:
    """Return a server that wants clients' certificates, not yet started."""
    flags = (
        f"--cert-file={certificates / 'server.crt'}",
        f"--key-file={certificates / 'server.key'}",
        f"--trusted-ca-file={certificates / 'ca.crt'}",
        "--client-cert-auth",
    )
    if name == "etcd":
        etcd = SecureEtcd(directory, *flags)
        return Subject(name, etcd.endpoint.removeprefix("https://"), etcd)
    target = f"127.0.0.1:{free_port()}"
    node = RegistryProcess(directory, *_registry_flags(f"https://{target}"), *flags)
    return Subject(name, target, node)


def _registry_flags(url: str) -> tuple[str, ...]:
    return (f"--listen-client-urls={url}", "--log-level=warn")


def write_certificates(directory: Path) -> None:
    """Write an authority, the servers' certificate, and certificates of root, ann and nobody.

    Keys are PKCS #8, which every client reads.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    names = {"server": "", "root": "root", "ann": "ann", "nameless": ""}
    for file, common_name in names.items():
        issued = authority.issue_cert("localhost", "127.0.0.1", common_name=common_name or None)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        (directory / f"{file}.crt").write_bytes(chain)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        (directory / f"{file}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


SHOP: tuple[tuple[str, ...], ...] = (
    ("user", "add", "root", "--no-password"),
    ("user", "grant-role", "root", "root"),
    ("role", "add", "shop"),
    ("role", "grant-permission", "shop", "readwrite", "shop/", "--prefix"),
    ("user", "add", "ann:annpw"),
    ("user", "grant-role", "ann", "shop"),
    ("user", "add", "bob:bobpw"),
    ("auth", "enable"),
)
"""What a secure server knows: ann may use ``shop/``, bob nothing."""


def open_shop(server: Subject, certificates: Path) -> None:
    """Make the users of a secure server, which knows root by his certificate."""
    options = (
        f"--endpoints=https://{server.target}",
        f"--cacert={certificates / 'ca.crt'}",
        f"--cert={certificates / 'root.crt'}",
        f"--key={certificates / 'root.key'}",
    )
    for command in SHOP:
        subprocess.run([ETCDCTL, *options, *command], check=True, capture_output=True, timeout=40)
