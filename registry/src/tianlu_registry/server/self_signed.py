"""Certificates that a node makes for itself: `--auto-tls` and `--peer-auto-tls`.

They keep what is said from who listens in. They prove nothing: whoever can stand between two
parties can show a certificate that he has made just as well, unless the reader has been given this
very one (`fixtures/client/cert.pem` as its trusted certificate).

A certificate is used again at the next start, so that whoever was given it can go on, until it has
less than a tenth of its time left or does not name all hosts; then a new one is made.

Source: etcd client/pkg/transport/listener.go (`SelfCert`), server/embed/config.go.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, EXIT_USAGE, CannotStart

_log = logging.getLogger(__name__)

YEARS_MAX: Final = 100
_DAYS_OF_YEAR: Final = 365
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_PURPOSES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_ORGANISATION: Final = "tianlu"


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """Where a certificate and its key lie.

    Attributes:
        directory: for them alone.
    """

    directory: Path

    @property
    def cert_file(self) -> Path:
        return self.directory / "cert.pem"

    @property
    def key_file(self) -> Path:
        return self.directory / "key.pem"

    def provide(self, hosts: Iterable[str], years: int) -> None:
        """See to it that there is a certificate which is good now.

        Args:
            hosts: names and addresses that it must be for; loopback's names come along with any
                of them.
            years: how long a new one is valid, from 1 to 100.

        Raises:
            CannotStart: the files cannot be written, or no certificate can be for one of the hosts.
        """
        wanted = _with_loopback(hosts)
        if self._is_good(wanted, datetime.now(UTC)):
            return
        try:
            self._make(wanted, years)
        except OSError as error:
            raise CannotStart(
                f"--data-dir: {self.directory}: cannot write a certificate: {error.strerror}",
                EXIT_CANNOT_CREATE,
            ) from error
        _log.warning("self_signed.made cert=%s hosts=%s", self.cert_file, ",".join(sorted(wanted)))

    def _is_good(self, hosts: frozenset[str], now: datetime) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.cert_file.read_bytes())
            key = load_pem_private_key(self.key_file.read_bytes(), None)
            certificate.verify_directly_issued_by(certificate)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return (
            key.public_key() == certificate.public_key()
            and certificate.not_valid_before_utc <= now
            and now < certificate.not_valid_after_utc - whole / 10
            and hosts <= _hosts_of(certificate)
        )

    def _make(self, hosts: frozenset[str], years: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key, hosts, datetime.now(UTC), years)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # The key first: who finds a certificate without its key makes both anew.
        _write(self.key_file, private, 0o600)
        _write(self.cert_file, certificate.public_bytes(Encoding.PEM), 0o644)


def _certificate(
    key: ec.EllipticCurvePrivateKey, hosts: frozenset[str], now: datetime, years: int
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION)])
    names = x509.SubjectAlternativeName([_general_name(host) for host in sorted(hosts)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Machines whose clocks are a little behind take it too.
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=years * _DAYS_OF_YEAR))
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _with_loopback(hosts: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_canonical, hosts)) | frozenset(_LOOPBACK)


def _canonical(host: str) -> str:
    """Return a host as `_hosts_of` finds it in a certificate.

    Raises:
        CannotStart: it is neither an address nor a name that a certificate can be for.
    """
    try:
        # Which of this machine's networks an address is of means nothing to another's.
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise CannotStart(
            f"--listen-client-urls, --advertise-client-urls, or those for peers: {host!r} is no "
            "host name; a certificate cannot be made for it",
            EXIT_USAGE,
        ) from error


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts_of(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(
        [
            *names.get_values_for_type(x509.DNSName),
            *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        ]
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
