"""Whether the node makes its certificates itself, and for which hosts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tianlu_registry.cli.cluster_flags import MemberFlags
from tianlu_registry.cli.tls_flags import ClientTlsFlags, PeerTlsFlags
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart
from tianlu_registry.server.self_signed import YEARS_MAX, SelfSigned

_log = logging.getLogger(__name__)

FIXTURES: Final = "fixtures"
"""Directory of such certificates under the data directory. Source: etcd server/embed/config.go."""


def client_self_signed(directory: Path, flags: ClientTlsFlags) -> SelfSigned | None:
    """Return where the certificate for clients is made; None if none is.

    Args:
        directory: the member's.
    """
    given = flags.cert_file or flags.key_file
    return _self_signed("--auto-tls", flags.auto_tls, given, directory / FIXTURES / "client")


def peer_self_signed(member: MemberFlags, flags: PeerTlsFlags) -> SelfSigned | None:
    """Return where the certificate for other members is made; None if none is."""
    given = flags.peer_cert_file or flags.peer_key_file
    directory = member.directory.absolute() / FIXTURES / "peer"
    return _self_signed("--peer-auto-tls", flags.peer_auto_tls, given, directory)


def provide_for_clients(made: SelfSigned, urls: Iterable[str], flags: ClientTlsFlags) -> None:
    """See to it that there is a certificate for clients at these URLs.

    Raises:
        CannotStart: it cannot be written, or the flags ask for too short or long a validity.
    """
    made.provide(_hosts(urls), _years(flags))


def provide_for_peers(node: NodeConfig, flags: ClientTlsFlags) -> None:
    """See to it that there is a certificate for other members, if the node makes it itself.

    Raises:
        CannotStart: as above.
    """
    if node.peer_auto_tls:
        made = SelfSigned(Path(node.peer_cert_file).parent)
        made.provide(_hosts([*node.listen_peer_urls, *node.peer_urls]), _years(flags))


def _self_signed(flag: str, asked: bool, given: str, directory: Path) -> SelfSigned | None:
    if asked and given:
        _log.warning("auto_tls.ignored flag=%s reason=%r", flag, "a certificate is given")
    return SelfSigned(directory) if asked and not given else None


def _hosts(urls: Iterable[str]) -> list[str]:
    return [host for host in (urlsplit(url).hostname for url in urls) if host]


def _years(flags: ClientTlsFlags) -> int:
    years = flags.self_signed_cert_validity
    if not 1 <= years <= YEARS_MAX:
        raise CannotStart(
            f"--self-signed-cert-validity: is {years}; give 1 to {YEARS_MAX} years", EXIT_USAGE
        )
    return years
