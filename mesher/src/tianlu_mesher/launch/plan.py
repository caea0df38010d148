"""What the command line hands to the launcher, as one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """One proxy to keep running. All paths are absolute.

    Attributes:
        part: "mesher" or "gateway".
        envoy: Envoy's executable.
        bootstrap: its bootstrap, as JSON; the launcher writes the port into it that the kernel
            chose, so that an Envoy that is started again listens where the first one did.
        listen: "HOST:PORT", or "unix:PATH".
        status_fd: a listening socket for the agent's status page, which this process holds.
        ports_file: remembers ports that the kernel chose, for the next start of this proxy.
        agent_config: the agent's settings.
        concurrency: Envoy's worker threads, 1 to 64.
        drain_seconds: on SIGTERM, how long requests in flight are waited for, 0 to 600.
        run_file: written once the proxy serves; "" for none.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    part: str
    node_id: str
    envoy: str
    bootstrap: str
    admin_socket: str
    xds_socket: str
    listen: str
    status_fd: int
    ports_file: str
    agent_config: str
    concurrency: int
    drain_seconds: float
    run_file: str
    log_level: str

    def write(self, path: Path) -> None:
        """Write the plan to `path`."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def read(path: Path) -> LaunchPlan:
        """Read what `write` wrote."""
        return LaunchPlan(**json.loads(path.read_text()))

    @property
    def listen_host(self) -> str:
        """The host to listen on; "" for a unix socket."""
        return "" if self.listen.startswith("unix:") else self.listen.rpartition(":")[0].strip("[]")
