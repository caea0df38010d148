"""Seam: what the catalogue and the APIs need from a replicated store, and its implementations."""
