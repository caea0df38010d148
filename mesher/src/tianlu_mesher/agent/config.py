"""What the launcher hands to the agent, as one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tianlu.registry_access import RegistryAccess
from tianlu_mesher.routing.role import ControlRoute, Repeat, Role, Stream


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """An agent's settings.

    Attributes:
        node_id: this proxy's name in the registry's list of subscribers and towards Envoy.
        static_clusters: names of the Envoy clusters in the bootstrap.
        registry: endpoints as the SDK takes them, at least one.
        access: who this is towards the registry; names of files, no secrets.
        snapshot_dir: the host snapshot; "" for none.
        xds_socket: where to serve ADS.
        admin_socket: where Envoy's administration interface is.
        status_fd: a listening socket that the launcher holds, so that the status address stays
            when the agent is restarted.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    role: Role
    node_id: str
    static_clusters: tuple[str, ...]
    registry: tuple[str, ...]
    access: RegistryAccess
    snapshot_dir: str
    xds_socket: str
    admin_socket: str
    status_fd: int
    log_level: str

    def write(self, path: Path) -> None:
        """Write the settings to `path`."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def read(path: Path, *, status_fd: int) -> AgentConfig:
        """Read what `write` wrote.

        Raises:
            OSError, ValueError, KeyError, TypeError: the file is missing or not ours.
        """
        content = json.loads(path.read_text())
        role = content.pop("role")
        control = tuple(
            ControlRoute(
                **{**each, "stream": Stream(each["stream"]), "repeat": Repeat(each["repeat"])}
            )
            for each in role.pop("control_routes")
        )
        for name in ("static_clusters", "registry"):
            content[name] = tuple(content[name])
        role["control_hosts"] = tuple(role["control_hosts"])
        content["status_fd"] = status_fd
        return AgentConfig(role=Role(**role, control_routes=control), **content)
