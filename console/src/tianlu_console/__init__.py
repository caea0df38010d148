"""Tianlu's web console: what people see and do about services, over the SDK and nothing else."""
