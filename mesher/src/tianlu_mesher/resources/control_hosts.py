"""Under which names the control plane may be asked (a guard against DNS rebinding).

A page can point its own name at this machine: its requests then carry that name, and count for the
browser as requests to the page's own site. Who asks by IP address or as localhost cannot be such a
page; any other name has to be one that the operator has listed.

Source: OWASP, "DNS rebinding"; the URL Standard (WHATWG), section 3.5: browsers write every IPv4
address as four decimal numbers and every IPv6 address in brackets.
"""

from __future__ import annotations

import re
from typing import Final

from tianlu_mesher.routing.role import Role

REFUSAL: Final = (
    "the control plane is not served under this host name; ask by IP address or as localhost, or "
    "list the name in the gateway's --control-host"
)
REFUSAL_STATUS: Final = 421
_ALWAYS: Final = (
    "localhost",
    r"[0-9]{1,3}([.][0-9]{1,3}){3}",
    r"\[[0-9a-f:.]+\]",
    # gRPC on a unix socket says the socket's path. Browsers allow no % in a host.
    r"[^/:@]*%2f[^/:@]*",
)


def authority_pattern(role: Role) -> str:
    """Return what an authority has to match as a whole, for RE2 and for Python."""
    names = "|".join((*_ALWAYS, *map(re.escape, role.control_hosts)))
    return f"(?i:({names})(:[0-9]+)?)"


def reserved(role: Role, domain: str) -> bool:
    """Say whether a domain is the control plane's own, so that no service can take it over."""
    return bool(role.control_routes) and bool(re.fullmatch(authority_pattern(role), domain))
