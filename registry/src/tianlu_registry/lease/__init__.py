"""Core: leases and their expiry."""
