"""Flags that say which member this is, and of which cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tianlu_registry.node.config import DEFAULT_CLUSTER_TOKEN


@dataclass(frozen=True, slots=True)
class MemberFlags:
    """Which member this is, and where its data lies."""

    panel: ClassVar[str] = "Member"

    name: Annotated[str, "Name of this member."] = "default"
    data_dir: Annotated[
        Path | None,
        "Directory of the member's data; NAME.tianlu if not given.",
    ] = None

    @property
    def directory(self) -> Path:
        """Where the data lies."""
        return self.data_dir or Path(f"{self.name}.tianlu")


@dataclass(frozen=True, slots=True)
class ClusterFlags:
    """Which cluster the member belongs to, and how it keeps in touch."""

    panel: ClassVar[str] = "Cluster"

    listen_peer_urls: Annotated[
        str,
        "Where other members connect: comma-separated http://host:port or https://. If not "
        "given: the advertised peer URLs in a cluster of several, nowhere in a cluster of one.",
    ] = ""
    initial_advertise_peer_urls: Annotated[
        str,
        "Where other members are told to connect; a part of the member's identity.",
    ] = "http://localhost:2380"
    initial_cluster: Annotated[
        str,
        "Members at first start, name=url,...; this member alone if not given.",
    ] = ""
    initial_cluster_state: Annotated[
        str,
        "'new': the members named found a cluster. 'existing': this one was added to it "
        "(tianlu cluster member add). Read at the first start only.",
    ] = "new"
    initial_cluster_token: Annotated[
        str,
        "Keeps two clusters of equal URLs apart.",
    ] = DEFAULT_CLUSTER_TOKEN
    force_new_cluster: Annotated[
        bool,
        "Begin again as a cluster of this member alone, with its data: when the majority is "
        "lost for ever. See the how-to on disaster recovery first.",
    ] = False
    pre_vote: Annotated[bool, "Accepted for etcd's sake: always on."] = True
    heartbeat_interval: Annotated[int, "Milliseconds between heartbeats."] = 100
    election_timeout: Annotated[int, "Milliseconds without a leader before voting."] = 1000
