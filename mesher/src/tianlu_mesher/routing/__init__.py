"""Core: what a view of the catalogue means for routing. No I/O, no Envoy, no clock.

`plan` is the first of the pure stages (catalogue view -> routing plan -> Envoy resources ->
consistency check -> ordered publish). Everything that goes in and comes out is immutable.
"""
