"""Whole clusters of production cores and WALs in a simulated world, run by `tianlu sim`.

Nothing else in the registry imports this package.
"""
