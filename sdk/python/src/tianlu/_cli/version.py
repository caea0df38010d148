"""`tianlu version`."""

from __future__ import annotations

import platform
from importlib.metadata import Distribution, distributions

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
    found: dict[str, str] = {}
    for one in distributions():
        if one.name == "tianlu" or one.name.startswith("tianlu-"):
            # Whichever comes first on the search path is imported.
            found.setdefault(one.name, _described(one))
    found = dict(sorted(found.items())) | {"python": platform.python_version()}
    show(output, found, ("PART", "VERSION"), list(found.items()))


def _described(part: Distribution) -> str:
    """Return a part's version, and whether it was built with compiled modules."""
    is_compiled = "Root-Is-Purelib: false" in (part.read_text("WHEEL") or "")
    return f"{part.version} (compiled)" if is_compiled else part.version
