"""The processes of a registry node: a launcher, and Envoy with the registry's Python inside it.

The launcher (`launcher.py`) checks what can be checked before anything runs, starts Envoy, asks
every second through Python whether it still answers, and replaces it when it does not.
"""
