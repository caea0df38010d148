"""How a node is put together: `app` starts things in order, and these modules make them of each
other.

- `engine`: what runs underneath, the embedded node or an existing etcd.
- `callers`: who callers are, and what guards the engine from them.
- `services`: the gRPC services, each behind what may refuse and what writes down.
- `apis`: those services, their JSON, the catalogue's and the pages, on one port.
- `failure`: how the process ends when it cannot go on.
"""
