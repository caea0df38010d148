"""The registry cluster as its operators see it: members, leadership, health, copies.

Speaks etcd v3 alone, so that all of it works against any etcd-compatible cluster. Used by the
command line; not public.
"""
