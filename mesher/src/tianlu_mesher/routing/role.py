"""What distinguishes the proxies that share these stages: the mesher on a host, the gateway at
the edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stream(StrEnum):
    """How long a request of a control route may take."""

    BRIEF = "brief"
    """A page or a call: silent for 5 minutes means it hangs."""
    LASTING = "lasting"
    """A watch or a server-sent event stream: may be silent for ever."""


class Repeat(StrEnum):
    """Which requests of a control route are sent to another endpoint when one fails.

    Whatever surely did not reach an endpoint always is.
    """

    UNSENT = "unsent"
    """No others: twice is not once."""
    GETS = "gets"
    """GET and HEAD, which read."""
    READS = "reads"
    """All, whatever the method: they read. Another endpoint is asked beside a silent one, too."""
    WRITES = "writes"
    """All: doing them twice has the effect of doing them once."""


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """A path of the control plane itself, which stands before the paths of services.

    Attributes:
        path: what the path begins with, or all of it if `exact`.
        envoy_cluster: a static Envoy cluster of the bootstrap; "" if `redirect` is set.
        same_origin_only: whether browsers may call it from pages of this host only.
        redirect: where browsers are sent instead; "" for nowhere.
        repeat: what is tried again although an endpoint may have done it.
    """

    path: str
    envoy_cluster: str = ""
    stream: Stream = Stream.LASTING
    exact: bool = False
    same_origin_only: bool = False
    redirect: str = ""
    repeat: Repeat = Repeat.UNSENT


@dataclass(frozen=True, slots=True)
class Role:
    """A proxy's part.

    Attributes:
        name: "mesher" or "gateway": names the listener and stands in answers and metrics.
        edge: whether clients are strangers: their forwarding headers are replaced, their paths
            are normalised, and they have to send their request headers in time.
        bare_namespace: services of this namespace are known by their bare name as well; "" none.
        path_prefix: under it stand services as PREFIX/NAMESPACE/SERVICE/…; "" none.
        control_routes: the longest path that fits is taken; no path occurs twice.
        control_hosts: names, in lower case, under which control routes are served besides IP
            addresses and localhost.
    """

    name: str
    edge: bool = False
    bare_namespace: str = ""
    path_prefix: str = ""
    control_routes: tuple[ControlRoute, ...] = ()
    control_hosts: tuple[str, ...] = ()
