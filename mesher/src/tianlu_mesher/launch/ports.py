"""Which ports to listen on: what was asked, and where 0 was asked, the same as last time if free.

Applications keep the address of their mesher for as long as they run. A mesher that is started
anew therefore takes the port that the kernel chose the first time.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path


def remembered(path: Path, name: str) -> int:
    """Return the port that was remembered under `name`; 0 if none was."""
    try:
        port = json.loads(path.read_text()).get(name, 0)
    except (OSError, ValueError, AttributeError):
        return 0
    return port if isinstance(port, int) and 0 < port < 65536 else 0


def remember(path: Path, ports: dict[str, int]) -> None:
    """Write ports for the next start, wholly or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(ports))
    temporary.replace(path)


def is_free(host: str, port: int) -> bool:
    """Whether somebody could listen on `port` now. A port that is still in TIME_WAIT counts."""
    try:
        bind(host, port).close()
    except OSError:
        return False
    return True


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound and not yet listening.

    Raises:
        OSError: the port is taken or not allowed, or the host is not ours.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # IPv4 first: what "localhost" means must not depend on the order of /etc/hosts.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
