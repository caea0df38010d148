"""The documents keep up with the code: every flag and variable stands on its page."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core

from tianlu._cli.root import as_command, subcommands

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

PAGES = {
    **dict.fromkeys(
        (
            "auth",
            "cluster",
            "instance",
            "kv",
            "role",
            "service",
            "snapshot",
            "subscribers",
            "user",
            "version",
            "watch",
        ),
        ("cli.md",),
    ),
    "bench": ("bench.md", "cli.md"),
    **dict.fromkeys(("up", "demo"), ("standalone.md",)),
    "console": ("console.md",),
    "gateway": ("gateway.md", "mesher.md"),
    "mesher": ("mesher.md",),
    "registry": ("registry.md",),
    "sim": ("simulation.md",),
}
"""Where a subcommand's flags are explained."""

INTERNAL = {
    "TIANLU_CLIENTS_REQUIRED",  # from bin/test to tests/clients
    "TIANLU_CRASH_POINT",  # tests kill a node at a point of their choice
    "TIANLU_FRONTEND_INPUTS",  # from the console's build to its bundler
    "TIANLU_ENVOY_ADMIN_SOCKET",  # from the registry's launcher to its child
    "TIANLU_LAUNCHER_TOKEN",  # from the registry's launcher to its child
    "TIANLU_REGISTRY_SETTINGS",  # the same
    "TIANLU_TLS_RELAY_SECRET",  # the same
}
"""Variables that nobody sets by hand."""


def page_of(name: str) -> str:
    return "".join((DOCS / page).read_text() for page in PAGES[name])


def options_of(command: object) -> Iterator[typer.core.TyperOption]:
    """Yield the options of a command and of everything below it."""
    yield from (
        each for each in getattr(command, "params", ()) if isinstance(each, typer.core.TyperOption)
    )
    for each in getattr(command, "commands", {}).values():
        yield from options_of(each)


def options(name: str) -> list[typer.core.TyperOption]:
    return list(options_of(as_command(subcommands()[name].load(), name)))


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def test_every_subcommand_has_a_page() -> None:
    assert set(subcommands()) == set(PAGES)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_flag_is_on_the_page(name: str) -> None:
    flags = {flag for option in options(name) for flag in option.opts if flag.startswith("--")}
    page = page_of(name)
    missing = {flag for flag in flags - {"--help"} if not re.search(rf"{flag}(?![\w-])", page)}
    assert missing == set()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_variable_is_on_the_page(name: str) -> None:
    """A page may say it for all flags at once, where the variable is the flag's name."""
    page = page_of(name)
    has_rule = "given as an environment variable" in " ".join(page.split())
    missing = set()
    for option in options(name):
        variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
        ruled = {"TIANLU_" + flag.lstrip("-").replace("-", "_").upper() for flag in option.opts}
        missing |= {
            each
            for each in variables
            if each.startswith("TIANLU_") and each not in page and not (has_rule and each in ruled)
        }
    assert missing == set()


def test_every_other_variable_is_documented() -> None:
    sources = [path for path in tracked() if "src" in path.parts or path.parent == ROOT / "bin"]
    read = set()
    for path in sources:
        if path.suffix in {".py", ".sh", ""}:
            read |= set(re.findall(r"\bTIANLU_[A-Z_]*[A-Z]\b", path.read_text()))
    of_flags = {option.envvar for name in PAGES for option in options(name)}
    pages = "".join(path.read_text() for path in tracked() if path.suffix == ".md")
    assert len(read) > 10
    assert {name for name in read - of_flags - INTERNAL if name not in pages} == set()
