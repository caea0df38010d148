"""Core: leases and their expiry."""

from tianlu_registry.lease.lessor import NO_LEASE, TTL_SECONDS_MAX, Lease, Lessor
from tianlu_registry.lease.protocols import LeaseBackend

__all__ = ["NO_LEASE", "TTL_SECONDS_MAX", "Lease", "LeaseBackend", "Lessor"]
