"""Flags of TLS: towards clients, and between members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar


@dataclass(frozen=True, slots=True)
class ClientTlsFlags:
    """How the node and its clients know each other."""

    panel: ClassVar[str] = "TLS for clients"

    cert_file: Annotated[str, "This node's certificate for clients, PEM."] = ""
    key_file: Annotated[str, "Its private key, PEM."] = ""
    trusted_ca_file: Annotated[str, "Who signs clients' certificates, PEM."] = ""
    client_cert_auth: Annotated[bool, "Clients must show a certificate of that CA."] = False
    client_cert_allowed_hostname: Annotated[
        str, "And it must be for this host name or IP address."
    ] = ""
    auto_tls: Annotated[
        bool,
        "Without --cert-file: make a certificate and use that. Clients that skip its check are "
        "safe from who listens in, but not from who pretends to be this node.",
    ] = False
    self_signed_cert_validity: Annotated[
        int, "Years that certificates of --auto-tls and --peer-auto-tls are valid."
    ] = 1
    client_crl_file: Annotated[str, "Certificates that are not accepted any more."] = ""
    cipher_suites: Annotated[
        str,
        "For TLS 1.2, comma-separated, towards clients and between members, by etcd's names or "
        "OpenSSL's; good ones if not given.",
    ] = ""
    tls_min_version: Annotated[str, "TLS1.2 or TLS1.3."] = "TLS1.2"
    tls_max_version: Annotated[str, "TLS1.2 or TLS1.3; the newest if not given."] = ""


@dataclass(frozen=True, slots=True)
class PeerTlsFlags:
    """How members know each other."""

    panel: ClassVar[str] = "TLS between members"

    peer_cert_file: Annotated[str, "This member's certificate, PEM."] = ""
    peer_key_file: Annotated[str, "Its private key, PEM."] = ""
    peer_trusted_ca_file: Annotated[str, "Who signs the members' certificates, PEM."] = ""
    peer_client_cert_auth: Annotated[
        bool,
        "Members must show a certificate of that CA when they connect.",
    ] = False
    peer_cert_allowed_cn: Annotated[str, "And its common name must be this."] = ""
    peer_cert_allowed_hostname: Annotated[
        str, "Or it must be for this host name or IP address."
    ] = ""
    peer_crl_file: Annotated[str, "Members' certificates that are not accepted any more."] = ""
    peer_tls_min_version: Annotated[str, "TLS1.2 or TLS1.3."] = "TLS1.2"
    peer_auto_tls: Annotated[
        bool,
        "Without --peer-cert-file: make a certificate and use that. Members then verify nobody.",
    ] = False
