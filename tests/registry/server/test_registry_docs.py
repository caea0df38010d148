"""The documents name every flag, every metric and every exit status of the registry."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import typer.main
from registry.registry_process import RegistryProcess

from tianlu_registry import errors
from tianlu_registry.cli import app
from tianlu_registry.server import errors as server_errors

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_flag_is_documented() -> None:
    text = (DOCS / "registry.md").read_text()
    flags = {name for option in typer.main.get_command(app).params for name in option.opts}
    documented = set(re.findall(r"^\| `(--[a-z-]+)` \|", text, re.MULTILINE))
    assert documented == flags - {"--help"}


def test_every_metric_is_documented(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = (DOCS / "registry.md").read_text() + (DOCS / "catalogue.md").read_text()
    process = RegistryProcess(tmp_path_factory.mktemp("metrics"), "--log-level=warn")
    try:
        process.start()
        page = httpx.get(f"{process.url}/metrics").text
    finally:
        process.kill()
    samples = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE))
    assert len(samples) > 30
    assert {
        name for name in samples if not name.startswith("process_") and name not in text
    } == set()


def test_every_exit_status_is_documented() -> None:
    text = (DOCS / "operations" / "exit-codes.md").read_text()
    statuses = {value for name, value in vars(server_errors).items() if name.startswith("EXIT_")}
    statuses |= {kind.exit_code for kind in (errors.Broken, *errors.Broken.__subclasses__())}
    assert statuses <= {int(found) for found in re.findall(r"^\| (\d+) ", text, re.MULTILINE)}
