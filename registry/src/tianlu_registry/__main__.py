"""`python -m tianlu_registry`: the same as `tianlu registry`."""

from tianlu_registry.cli import app

app(prog_name="python -m tianlu_registry")
