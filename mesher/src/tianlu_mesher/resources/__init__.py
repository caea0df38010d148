"""Core: routing plan -> Envoy resources -> consistency check. No I/O, no clock.

One file for each kind of resource; `snapshot` holds the result, `assemble` makes it service by
service and reuses what has not changed.
"""
