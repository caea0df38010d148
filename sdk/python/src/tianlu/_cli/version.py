"""`tianlu version`."""

from __future__ import annotations

import platform
from importlib.metadata import distributions

import typer

from tianlu._cli import options
from tianlu._cli.output import show

app = typer.Typer(add_completion=False)


@app.command()
def version(output: options.OutputOption = options.Output.TABLE) -> None:
    """Print the versions of what is installed.

    Examples:

      tianlu version --output json
    """
    found = {
        one.name: one.version
        for one in distributions()
        if one.name == "tianlu" or one.name.startswith("tianlu-")
    }
    found = dict(sorted(found.items())) | {"python": platform.python_version()}
    show(output, found, ("PART", "VERSION"), list(found.items()))
