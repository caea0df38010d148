"""The check between assembling and publishing: nothing refers to what is not there.

Envoy accepts a route to a missing cluster and answers 503, keeps a cluster without an assignment
in warming for 15 s, and refuses a whole route configuration with a domain twice. So we look first
and publish nothing that fails.
Source: go-control-plane, pkg/cache/v3/snapshot.go `Consistent`.
"""

from __future__ import annotations

from collections import Counter

from tianlu_mesher.errors import InconsistentPlan
from tianlu_mesher.resources.snapshot import XdsSnapshot


def require_consistent(snapshot: XdsSnapshot) -> None:
    """Return if `snapshot` may be published.

    Raises:
        InconsistentPlan: it may not; the error lists every fault.
    """
    clusters, endpoints = snapshot.clusters.keys(), snapshot.endpoints.keys()
    faults = [
        *(
            f"a route uses the missing cluster {name}"
            for name in sorted(snapshot.route_targets - clusters - snapshot.static_clusters)
        ),
        *(f"cluster {name} has no endpoint assignment" for name in sorted(clusters - endpoints)),
        *(f"an endpoint assignment has no cluster {name}" for name in sorted(endpoints - clusters)),
        *(
            f"cluster {name} is static and dynamic"
            for name in sorted(clusters & snapshot.static_clusters)
        ),
        *(
            f"domain {name} occurs {count} times"
            for name, count in sorted(Counter(snapshot.domains).items())
            if count > 1
        ),
        *(f"resource {name} is filed under {key}" for key, name in _misfiled(snapshot)),
    ]
    if faults:
        raise InconsistentPlan(tuple(faults))


def _misfiled(snapshot: XdsSnapshot) -> list[tuple[str, str]]:
    maps = (snapshot.clusters, snapshot.endpoints, snapshot.routes)
    return [
        (key, resource.name)
        for each in maps
        for key, resource in each.items()
        if key != resource.name
    ]
