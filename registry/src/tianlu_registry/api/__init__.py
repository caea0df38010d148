"""Shell: gRPC and JSON over ASGI: etcd v3, tianlu.v1, health and metrics."""
