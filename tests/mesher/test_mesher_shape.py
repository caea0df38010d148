"""Properties of the code: cores do no I/O, the launcher is light, the docs are whole."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import tianlu_gateway
import tianlu_mesher
from tianlu_mesher.agent.metrics import AgentMetrics

PACKAGE = Path(tianlu_mesher.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
CORES = sorted(
    [
        *(PACKAGE / "routing").glob("*.py"),
        *(PACKAGE / "resources").glob("*.py"),
        *(PACKAGE / "xds" / f"{name}.py" for name in ("session", "ledger", "messages")),
        PACKAGE / "agent" / "admission.py",
        Path(tianlu_gateway.__file__).parent / "control_plane.py",
    ]
)
FORBIDDEN = {"asyncio", "socket", "threading", "time", "random", "os", "grpc", "logging", "uvloop"}


@pytest.mark.parametrize("path", CORES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_core_does_no_io_and_reads_no_clock(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    assert not imported & FORBIDDEN


def test_the_launcher_stands_on_the_standard_library() -> None:
    code = "import sys, tianlu_mesher.launch.process; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    foreign = {"grpc", "google", "google.protobuf", "tianlu", "typer", "httpx", "prometheus_client"}
    assert not foreign & set(modules)


@pytest.mark.parametrize("part", ["mesher", "gateway"])
def test_every_flag_is_documented(part: str) -> None:
    command = typer.main.get_command(importlib.import_module(f"tianlu_{part}.cli").app)
    text = (DOCS / "mesher.md").read_text() + (DOCS / f"{part}.md").read_text()
    flags = [option for each in command.params for option in each.opts if option != "--help"]
    assert len(flags) > 8
    assert [flag for flag in flags if f"`{flag}`" not in text] == []


def test_every_metric_is_documented() -> None:
    text = (DOCS / "mesher.md").read_text()
    names = re.findall(
        r"^# TYPE tianlu_mesher_(\w+)", AgentMetrics("mesher").render().decode(), re.MULTILINE
    )
    assert len(names) > 8
    missing = [name for name in names if f"_{name}`" not in text]
    assert [name for name in missing if not name.endswith("_created")] == []
