"""Delta ADS: what an Envoy has been given, what it has accepted, and what to give it next.

`session` is the core (no I/O, time is an argument); `server` moves its bytes with grpcio.
"""
