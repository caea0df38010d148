"""Tianlu's registry: the Raft-replicated core and its APIs. Cores decide, shells move bytes; see
docs/registry.md."""
