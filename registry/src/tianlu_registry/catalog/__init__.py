"""Core: services, instances, sessions and their health as a view over revisions."""
