"""`tianlu registry`: runs a registry node. Flags carry etcd's names where they mean the same.

A module of flags holds groups: dataclasses with a flag in each field. `command` puts them together;
what the node is told is made of them in `node` and `serve`.
"""

from tianlu_registry.cli.command import app

__all__ = ["app"]
