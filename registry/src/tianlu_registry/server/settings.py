"""What the launcher tells the application inside Envoy, through one environment variable."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from tianlu_registry.audit.options import AuditOptions
from tianlu_registry.limits.settings import ClientLimits
from tianlu_registry.node.config import NodeConfig

SETTINGS_VARIABLE = "TIANLU_REGISTRY_SETTINGS"


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Everything the application is told at its start.

    Attributes:
        node: the embedded node's configuration; not used when `etcd_endpoints` is set.
        client_urls: where clients are told to come; what `MemberList` says.
        etcd_endpoints: an existing etcd cluster to stand on instead of the embedded node.
        etcd_cacert, etcd_cert, etcd_key, etcd_user, etcd_password_file: how it is spoken to; see
            `EtcdConfig`.
        progress_interval_seconds: silence after which watches that asked for it hear how far
            they are.
        auth_token: kind of token that callers are known by; see `authn.options`.
        auth_token_ttl_seconds: how long an unused simple token lives.
        client_certificates: clients are known by certificates that the TLS listener has verified.
        cors, host_whitelist: see `WebAccess`.
        metrics: basic or extensive.
        audit: where lines about changes go.
        client_limits: what each client may take.
        client_ports: local ports where clients connect.
        log_level: debug, info, warn or error.
        log_format: console or json.
    """

    node: NodeConfig
    client_urls: tuple[str, ...]
    etcd_endpoints: tuple[str, ...] = ()
    etcd_cacert: str = ""
    etcd_cert: str = ""
    etcd_key: str = ""
    etcd_user: str = ""
    etcd_password_file: str = ""
    progress_interval_seconds: float = 600.0
    auth_token: str = "simple"  # noqa: S105 - the name of a kind
    auth_token_ttl_seconds: float = 300.0
    client_certificates: bool = False
    cors: tuple[str, ...] = ()
    host_whitelist: tuple[str, ...] = ()
    metrics: str = "basic"
    audit: AuditOptions = field(default_factory=AuditOptions)
    client_limits: ClientLimits = field(default_factory=ClientLimits)
    client_ports: tuple[int, ...] = ()
    log_level: str = "info"
    log_format: str = "console"

    def to_json(self) -> str:
        content = dataclasses.asdict(self)
        content["node"]["data_dir"] = str(self.node.data_dir)
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> RegistrySettings:
        """Return what `to_json` wrote.

        Raises:
            InvalidArgument: the node's configuration cannot be.
        """
        content = json.loads(text)
        node = content["node"]
        node["data_dir"] = Path(node["data_dir"])
        for name in ("peer_urls", "listen_peer_urls", "client_urls", "peer_cipher_suites"):
            node[name] = tuple(node[name])
        content["node"] = NodeConfig(**node)
        content["audit"] = AuditOptions(**content["audit"])
        limits = content["client_limits"]
        limits["trusted_proxies"] = tuple(limits["trusted_proxies"])
        content["client_limits"] = ClientLimits(**limits)
        for name in ("client_urls", "client_ports", "etcd_endpoints", "cors", "host_whitelist"):
            content[name] = tuple(content[name])
        return cls(**content)
