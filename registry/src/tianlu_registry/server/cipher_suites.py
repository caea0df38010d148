"""Names of cipher suites: etcd's, which are IANA's, and OpenSSL's, which Envoy and Python take.

Only suites of TLS 1.2 can be chosen. Envoy would take any word, and then refuse every connection.

Source: IANA "TLS Cipher Suites"; Envoy documentation, `TlsParameters.cipher_suites`; etcd
client/pkg/tlsutil/cipher_suites.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

_FLAG: Final = "--cipher-suites"

SUITES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    }
)
"""OpenSSL's names by IANA's (and etcd's older spelling of two)."""

_ALWAYS_ON: Final = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
"""Suites of TLS 1.3: named for etcd's sake."""


def openssl_suites(text: str) -> tuple[str, ...]:
    """Return OpenSSL's names of a comma-separated list; none for an empty one.

    Raises:
        CannotStart: a name is unknown, or nothing is left that can be chosen.
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    known = {*SUITES, *SUITES.values(), *_ALWAYS_ON}
    for name in given:
        if name not in known:
            raise CannotStart(
                f"{_FLAG}: {name!r} is not offered; choose from {', '.join(SUITES)}", EXIT_USAGE
            )
    chosen = tuple(SUITES.get(name, name) for name in given if name not in _ALWAYS_ON)
    if given and not chosen:
        raise CannotStart(
            f"{_FLAG}: names suites of TLS 1.3 only, which cannot be chosen; for nothing older "
            "give --tls-min-version TLS1.3",
            EXIT_USAGE,
        )
    return chosen
