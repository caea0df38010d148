"""TLS between members: who must show which certificate.

Certificates are read anew when their files have changed, at the next connection: replace the files,
and nothing needs a restart. Files that cannot be read then leave the last good ones in use.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tianlu_registry.errors import InvalidArgument

logger = logging.getLogger(__name__)

VERSIONS: Final = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}

_Stamps = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The files, and what they must prove.

    Attributes:
        cert_file, key_file: this member's, shown in both directions: as a server's and a client's.
        trusted_ca_file: who signs the members' certificates; None for the system's authorities.
        client_cert_auth: whether who dials must show a certificate of that authority.
        allowed_cn: the common name that every member's certificate must have; "" for any.
        allowed_hostname: the name that every dialling member's certificate must be for; "" for any.
        crl_file: certificates that are not accepted any more, in either direction; None for none.
        min_version: TLS1.2 or TLS1.3.
        cipher_suites: for TLS 1.2, OpenSSL's names; none for Python's choice.
        self_signed: the members' certificates prove nothing and nobody looks at them: what they say
            to each other is only kept from who listens in.
    """

    cert_file: Path
    key_file: Path
    trusted_ca_file: Path | None = None
    client_cert_auth: bool = False
    allowed_cn: str = ""
    allowed_hostname: str = ""
    crl_file: Path | None = None
    min_version: str = "TLS1.2"
    cipher_suites: tuple[str, ...] = ()
    self_signed: bool = False

    def __post_init__(self) -> None:
        """Check how the fields relate.

        Raises:
            InvalidArgument: they contradict each other.
        """
        if (self.allowed_cn or self.allowed_hostname) and not self.client_cert_auth:
            raise InvalidArgument(
                "peer_client_cert_auth", "must be on when names in certificates are restricted"
            )
        if self.min_version not in VERSIONS:
            raise InvalidArgument(
                "peer_tls_min_version", f"is {self.min_version!r}; give {' or '.join(VERSIONS)}"
            )
        if self.self_signed and (self.trusted_ca_file or self.client_cert_auth or self.crl_file):
            raise InvalidArgument(
                "peer_auto_tls",
                "makes certificates that no authority has signed: none can be asked for",
            )


class PeerTls:
    """TLS contexts from files. See `TlsFiles` for the arguments.

    Raises:
        InvalidArgument: a file cannot be read or is none, or the settings contradict each other.
    """

    def __init__(
        self,
        cert_file: Path,
        key_file: Path,
        trusted_ca_file: Path | None = None,
        *,
        client_cert_auth: bool = False,
        allowed_cn: str = "",
        allowed_hostname: str = "",
        crl_file: Path | None = None,
        min_version: str = "TLS1.2",
        cipher_suites: tuple[str, ...] = (),
        self_signed: bool = False,
    ) -> None:
        self._files = TlsFiles(
            cert_file=cert_file,
            key_file=key_file,
            trusted_ca_file=trusted_ca_file,
            client_cert_auth=client_cert_auth,
            allowed_cn=allowed_cn,
            allowed_hostname=allowed_hostname,
            crl_file=crl_file,
            min_version=min_version,
            cipher_suites=cipher_suites,
            self_signed=self_signed,
        )
        self._server = _Cached(self._files, is_server=True)
        self._client = _Cached(self._files, is_server=False)

    def server_context(self) -> ssl.SSLContext:
        """Return the context for a connection that is accepted now."""
        return self._server.current()

    def client_context(self) -> ssl.SSLContext:
        """Return the context for a connection that is dialled now."""
        return self._client.current()

    def refusal(self, ssl_object: ssl.SSLObject) -> str | None:
        """Say why the certificate of who dialled is not accepted: it has other names than are
        allowed. None if it is."""
        files = self._files
        if not files.allowed_cn and not files.allowed_hostname:
            return None
        certificate = ssl_object.getpeercert() or {}
        names = _common_names(certificate)
        if files.allowed_cn and files.allowed_cn not in names:
            found = ", ".join(names) or "none"
            return f"your certificate has the common name {found}, not {files.allowed_cn}"
        if files.allowed_hostname and not _is_for(certificate, files.allowed_hostname):
            return f"your certificate is not for {files.allowed_hostname}"
        return None


@dataclass
class _Cached:
    """The context of the files as they were last found good."""

    files: TlsFiles
    is_server: bool
    _context: ssl.SSLContext = field(init=False)
    _stamps: _Stamps = field(init=False)

    def __post_init__(self) -> None:
        self._stamps = _stamps(self.files)
        self._context = _make_context(self.files, is_server=self.is_server)

    def current(self) -> ssl.SSLContext:
        try:
            stamps = _stamps(self.files)
            if stamps != self._stamps:
                self._context = _make_context(self.files, is_server=self.is_server)
                self._stamps = stamps
                logger.info("peer_tls_reloaded cert=%s", self.files.cert_file)
        except InvalidArgument as error:
            logger.warning("peer_tls_reload_failed reason=%s", error)
        return self._context


def _paths(files: TlsFiles) -> list[tuple[str, Path]]:
    paths = [("peer_cert_file", files.cert_file), ("peer_key_file", files.key_file)]
    if files.trusted_ca_file is not None:
        paths.append(("peer_trusted_ca_file", files.trusted_ca_file))
    if files.crl_file is not None:
        paths.append(("peer_crl_file", files.crl_file))
    return paths


def _stamps(files: TlsFiles) -> _Stamps:
    stamps = []
    for name, path in _paths(files):
        try:
            stat = path.stat()
        except OSError as error:
            raise InvalidArgument(name, f"cannot read {path}: {error.strerror}") from error
        stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(stamps)


def _make_context(files: TlsFiles, *, is_server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[files.min_version]
    if files.cipher_suites:
        context.set_ciphers(":".join(files.cipher_suites))
    # Members reconnect rarely; a ticket would let a connection skip the check of its certificate.
    context.options |= ssl.OP_NO_TICKET
    try:
        context.load_cert_chain(files.cert_file, files.key_file, password=_no_password)
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            "peer_cert_file",
            f"cannot use {files.cert_file} with {files.key_file}: {describe_tls_error(error)}",
        ) from error
    _trust(context, files)
    if files.self_signed:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif is_server:
        context.verify_mode = ssl.CERT_REQUIRED if files.client_cert_auth else ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.trusted_ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    try:
        context.load_verify_locations(files.trusted_ca_file)
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            "peer_trusted_ca_file",
            f"cannot use {files.trusted_ca_file}: {describe_tls_error(error)}",
        ) from error
    if files.crl_file is not None:
        _revoke(context, files.crl_file)


def _revoke(context: ssl.SSLContext, crl_file: Path) -> None:
    try:
        context.load_verify_locations(crl_file)
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            "peer_crl_file", f"cannot use {crl_file}: {describe_tls_error(error)}"
        ) from error
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a password")


_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS: compare the URLs (http, https)",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not know the authority of our certificate",
}


def describe_tls_error(error: Exception) -> str:
    """Return one line for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the other side's certificate is not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return _REASONS.get(reason, reason.lower().replace("_", " "))
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _common_names(certificate: dict[str, Any]) -> list[str]:
    return [
        value
        for name in certificate.get("subject", ())
        for key, value in name
        if key == "commonName"
    ]


def _is_for(certificate: dict[str, Any], hostname: str) -> bool:
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    addresses = [
        value for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"
    ]
    return hostname in addresses or any(_matches(name, hostname) for name in names)


def _matches(pattern: str, hostname: str) -> bool:
    """Whether a certificate's name covers a host: a leading ``*`` stands for one label."""
    pattern, hostname = pattern.lower(), hostname.lower()
    if not pattern.startswith("*."):
        return pattern == hostname
    return hostname.partition(".")[2] == pattern[2:]
