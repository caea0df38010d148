"""Where to listen or connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where to listen or connect: a host and port, or a unix socket (`path` set)."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def wire(self) -> dict[str, Any]:
        """Return the address as Envoy's Address."""
        if self.path:
            return {"pipe": {"path": self.path}}
        return {"socket_address": {"address": self.host, "port_value": self.port}}

    @property
    def numeric(self) -> bool:
        """Whether the host is an IP address, and no name to be resolved."""
        return ":" in self.host or self.host.replace(".", "").isdigit()
