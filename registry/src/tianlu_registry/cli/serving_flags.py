"""Flags that say where and how the node serves, and how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar


class LogLevel(StrEnum):
    """How much is logged: each level includes the ones below it."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    DPANIC = "dpanic"
    PANIC = "panic"
    FATAL = "fatal"


class LogFormat(StrEnum):
    """How a line looks."""

    CONSOLE = "console"
    JSON = "json"


class MetricsDetail(StrEnum):
    """How much /metrics says."""

    BASIC = "basic"
    EXTENSIVE = "extensive"


@dataclass(frozen=True, slots=True)
class ClientFlags:
    """Where clients connect."""

    panel: ClassVar[str] = "Clients"

    listen_client_urls: Annotated[
        str,
        "Where clients connect: comma-separated http://host:port or https:// (port 0: any free "
        "one), unix:/path and unixs:/path.",
    ] = "http://127.0.0.1:2379"
    advertise_client_urls: Annotated[
        str,
        "Where clients are told to connect; the listen URLs if not given.",
    ] = ""
    listen_metrics_urls: Annotated[
        str, "Where /metrics, /health, /livez, /readyz and /version are served besides."
    ] = ""
    cors: Annotated[
        str,
        "Other sites whose pages may use the JSON APIs: comma-separated origins such as "
        "https://console.example, or * for every site. None if not given.",
    ] = ""
    host_whitelist: Annotated[
        str,
        "Names that HTTP requests without TLS may give in Host, comma-separated; * for any. If not "
        "given: any, but from a browser's page only IP addresses and localhost.",
    ] = ""


@dataclass(frozen=True, slots=True)
class UserFlags:
    """How users stay known after they have logged in."""

    panel: ClassVar[str] = "Users"

    auth_token: Annotated[
        str,
        "Tokens of users who have logged in: 'simple', or "
        "'jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=10m'.",
    ] = "simple"  # noqa: S105 - the name of a kind
    auth_token_ttl: Annotated[int, "Seconds that an unused simple token lives."] = 300


@dataclass(frozen=True, slots=True)
class RunningFlags:
    """How the node runs."""

    panel: ClassVar[str] = "Running"

    allow_insecure_listen: Annotated[
        bool,
        "Listen without TLS on addresses other than loopback: whoever reaches them reads and "
        "writes everything.",
    ] = False
    etcd_endpoints: Annotated[
        str,
        "Stand on this existing etcd cluster (comma-separated URLs) instead of own storage.",
    ] = ""
    drain_seconds: Annotated[float, "Longest wait for calls in flight when stopping."] = 1.0
    run_file: Annotated[
        Path | None,
        "File that says, as JSON, that the node serves and where.",
    ] = None
    log_level: Annotated[
        LogLevel, "How much to log. etcd's dpanic, panic and fatal are read as error."
    ] = LogLevel.INFO
    log_format: Annotated[LogFormat, "How a line looks."] = LogFormat.CONSOLE
    log_outputs: Annotated[
        str,
        "Where the log goes once the node starts: 'default' or 'stderr', 'stdout', or a file, "
        "which is continued.",
    ] = "default"
    metrics: Annotated[
        MetricsDetail, "'extensive' adds histograms of how long calls take, by method."
    ] = MetricsDetail.BASIC
    config_file: Annotated[
        Path | None,
        "Take all flags from this file, YAML or JSON, as etcd does: those beside it do not count.",
    ] = None

    @property
    def level(self) -> str:
        """The log level, one of the four that there are."""
        known = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN)
        return (self.log_level if self.log_level in known else LogLevel.ERROR).value
