"""TLS towards clients: the files it is made of, and how Envoy gets to know them.

Envoy takes certificates from SDS files and reads such a file anew when another is renamed over it.
So certificates are replaced without a restart: the launcher looks at the user's files every second,
and what has changed, and belongs together, goes into new SDS files. What does not belong together
(a key that is not the certificate's, half a file) is said in the log, and the last good ones stay.

Source: Envoy documentation, "Secret discovery service", "x-forwarded-client-cert".
"""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tianlu_registry.server.cipher_suites import openssl_suites
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

_log = logging.getLogger(__name__)

CERTIFICATE_SECRET: Final = "certificate"  # noqa: S105 - a name
AUTHORITY_SECRET: Final = "authority"  # noqa: S105 - a name

_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_VERSIONS: Final[Mapping[str, str]] = {"TLS1.2": "TLSv1_2", "TLS1.3": "TLSv1_3"}


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What the flags say of TLS towards clients. Empty texts are flags not given.

    Attributes:
        cert_file, key_file: this node's, PEM.
        trusted_ca_file: who signs clients' certificates.
        client_cert_auth: a client must show such a certificate.
        allowed_hostname: and it must be for this name or IP address.
        crl_file: certificates that are not accepted any more.
        cipher_suites: for TLS 1.2, comma-separated, see `cipher_suites`; Envoy's if empty.
        min_version, max_version: TLS1.2 or TLS1.3; empty for no limit of our own.
    """

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    allowed_hostname: str = ""
    crl_file: str = ""
    cipher_suites: str = ""
    min_version: str = ""
    max_version: str = ""

    def check(self) -> None:
        """Check what can be checked before anything is started.

        Raises:
            CannotStart: names the flag that cannot be, and why.
        """
        if not self.cert_file or not self.key_file:
            missing = "--key-file" if self.cert_file else "--cert-file"
            raise _wrong(missing, "is needed to listen at an https or unixs URL")
        if self.client_cert_auth and not self.trusted_ca_file:
            raise _wrong("--trusted-ca-file", "is needed to check clients' certificates")
        if self.allowed_hostname and not self.client_cert_auth:
            raise _wrong("--client-cert-auth", "is needed for --client-cert-allowed-hostname")
        if self.crl_file and not self.trusted_ca_file:
            raise _wrong("--trusted-ca-file", "is needed for --client-crl-file")
        for flag, version in (
            ("--tls-min-version", self.min_version),
            ("--tls-max-version", self.max_version),
        ):
            if version and version not in _VERSIONS:
                raise _wrong(flag, f"is {version!r}; give {' or '.join(_VERSIONS)}")
        if self.min_version == "TLS1.3" and self.max_version == "TLS1.2":
            raise _wrong("--tls-max-version", "is below --tls-min-version")
        openssl_suites(self.cipher_suites)
        problem = self.problem()
        if problem:
            raise CannotStart(problem, EXIT_USAGE)

    def problem(self) -> str:
        """Return what is wrong with the files as they are now; empty for nothing."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without this OpenSSL asks for an encrypted key's password on the terminal, and waits.
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        except _Encrypted:
            return f"--key-file: {self.key_file}: is encrypted; give a key without a password"
        except (OSError, ssl.SSLError) as error:
            return f"--cert-file, --key-file: {self.cert_file}, {self.key_file}: {_why(error)}"
        for flag, path in (
            ("--trusted-ca-file", self.trusted_ca_file),
            ("--client-crl-file", self.crl_file),
        ):
            try:
                if path:
                    context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                return f"{flag}: {path}: {_why(error)}"
        return ""

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file is replaced or written to."""
        stamps = []
        for path in (self.cert_file, self.key_file, self.trusted_ca_file, self.crl_file):
            if path:
                found = Path(path).stat()
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return tuple(stamps)


class SecretFiles:
    """The SDS files of a node.

    Args:
        tls: checked.
        directory: of the node's own, removed when it ends.
    """

    def __init__(self, tls: ClientTls, directory: Path) -> None:
        self._tls = tls
        self.certificate: Final = directory / "certificate.json"
        self.authority: Final = directory / "authority.json"
        self._stamp = tls.stamp()
        self._write()

    def refresh(self) -> None:
        """Take over files that have changed since the last look."""
        try:
            stamp = self._tls.stamp()
        except OSError as error:
            _log.warning("client_tls.files_kept reason=%r", _why(error))
            return
        if stamp == self._stamp:
            return
        problem = self._tls.problem()
        if problem:
            self._stamp = stamp
            _log.error("client_tls.files_kept reason=%r", problem)
            return
        try:
            self._write()
        except OSError as error:  # no space, or a file is away by now: the next look tries again
            _log.error("client_tls.files_kept reason=%r", _why(error))
            return
        self._stamp = stamp
        _log.info("client_tls.files_reloaded")

    def _write(self) -> None:
        tls = self._tls
        certificate = {
            "tls_certificate": {
                "certificate_chain": _inline(tls.cert_file),
                # Read anew with every new certificate; no copy of it lies about.
                "private_key": {"filename": str(Path(tls.key_file).absolute())},
            }
        }
        _replace(self.certificate, CERTIFICATE_SECRET, certificate)
        if tls.trusted_ca_file:
            authority: dict[str, Any] = {"trusted_ca": _inline(tls.trusted_ca_file)}
            if tls.crl_file:
                authority["crl"] = _inline(tls.crl_file)
                authority["only_verify_leaf_cert_crl"] = True
            if tls.allowed_hostname:
                authority["match_typed_subject_alt_names"] = [_is_for(tls.allowed_hostname)]
            _replace(self.authority, AUTHORITY_SECRET, {"validation_context": authority})


def transport_socket(tls: ClientTls, secrets: SecretFiles) -> dict[str, Any]:
    """Return Envoy's configuration of TLS on a listener."""
    parameters: dict[str, Any] = {
        "tls_minimum_protocol_version": _VERSIONS[tls.min_version or "TLS1.2"]
    }
    if tls.max_version:
        parameters["tls_maximum_protocol_version"] = _VERSIONS[tls.max_version]
    if tls.cipher_suites:
        parameters["cipher_suites"] = list(openssl_suites(tls.cipher_suites))
    common: dict[str, Any] = {
        "tls_params": parameters,
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [
            _secret_config(CERTIFICATE_SECRET, secrets.certificate)
        ],
    }
    if tls.trusted_ca_file:
        common["validation_context_sds_secret_config"] = _secret_config(
            AUTHORITY_SECRET, secrets.authority
        )
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": tls.client_cert_auth,
        },
    }


def _is_for(host: str) -> dict[str, Any]:
    """Return Envoy's matcher of certificates for a host; a wildcard in one covers the name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return {"san_type": "DNS", "matcher": {"exact": host, "ignore_case": False}}
    return {"san_type": "IP_ADDRESS", "matcher": {"exact": host}}


def _secret_config(name: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "sds_config": {
            "path_config_source": {"path": str(path)},
            "resource_api_version": "V3",
        },
    }


def _inline(path: str) -> dict[str, str]:
    # Bytes: what people write beside the PEM blocks may be in any encoding.
    return {"inline_bytes": base64.b64encode(Path(path).read_bytes()).decode()}


def _replace(path: Path, name: str, secret: dict[str, Any]) -> None:
    """Write an SDS file by renaming, which is what Envoy looks for."""
    resource = {"@type": f"{_TLS}.Secret", "name": name, **secret}
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"resources": [resource]}, file)
    temporary.replace(path)


class _Encrypted(Exception):
    """A key has a password, which nobody is asked for."""


def _no_password() -> str:
    raise _Encrypted


def _wrong(flag: str, problem: str) -> CannotStart:
    return CannotStart(f"{flag}: {problem}", EXIT_USAGE)


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not PEM files that belong together ({error.reason or error})"
    return str(error.strerror or error)
