"""The registry's raw key-value API, as etcd v3 defines it."""

from __future__ import annotations


class AsyncKv:
    """etcd v3 calls on the registry; `AsyncClient.kv`."""
