"""TLS towards addresses that are known at the start, each verified by its own name.

An Envoy cluster may mix addresses that speak TLS with some that do not, and each has a certificate
of its own: so each address that speaks TLS is marked in its metadata, and its mark leads to a
transport socket that accepts its name alone. No certificate is shown: Envoy carries other people's
calls.

Source: Envoy, api/envoy/extensions/transport_sockets/tls/v3/tls.proto;
api/envoy/config/cluster/v3/cluster.proto (transport_socket_matches).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from tianlu_mesher.envoy_api import message_class, packed
from tianlu_mesher.resources.socket_address import SocketAddress

_METADATA: Final = "envoy.transport_socket_match"
_MARK: Final = "tls"
_TRANSPORT_SOCKET: Final = "envoy.transport_sockets.tls"


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How an address is spoken to that speaks TLS.

    Attributes:
        server_name: a host name or IP address that its certificate must be for.
        ca_file: PEM, who may have signed it; "" for the system's authorities.
    """

    address: SocketAddress
    server_name: str
    ca_file: str


def endpoint_metadata(tls: UpstreamTls | None) -> dict[str, Any]:
    """Return what an endpoint has beside its address; nothing without TLS."""
    if tls is None:
        return {}
    return {"metadata": {"filter_metadata": {_METADATA: _mark(tls)}}}


def transport_socket_match(tls: UpstreamTls) -> dict[str, Any]:
    """Return the transport socket for the one endpoint that has the mark."""
    numeric = SocketAddress(host=tls.server_name).numeric
    name = {
        "san_type": "IP_ADDRESS" if numeric else "DNS",
        "matcher": {"exact": tls.server_name},
    }
    authorities = (
        {"trusted_ca": {"filename": tls.ca_file}} if tls.ca_file else {"system_root_certs": {}}
    )
    context = message_class("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")(
        # A server name in the handshake is a host name, never an address (RFC 6066, section 3).
        sni="" if numeric else tls.server_name,
        common_tls_context={
            "alpn_protocols": ["h2"],
            # Envoy stops at 1.2 as a client unless told; a registry may insist on 1.3.
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "validation_context": {**authorities, "match_typed_subject_alt_names": [name]},
        },
    )
    return {
        "name": str(tls.address),
        "match": _mark(tls),
        "transport_socket": {"name": _TRANSPORT_SOCKET, "typed_config": packed(context)},
    }


def _mark(tls: UpstreamTls) -> Message:
    """Return a Struct as a message: protobuf reads dictionaries in its place in two ways."""
    made: Message = message_class("google.protobuf.Struct")(
        fields={_MARK: {"string_value": str(tls.address)}}
    )
    return made
