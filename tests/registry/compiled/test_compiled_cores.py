"""The compiled wheel: what is in it, that it passes the cores' tests, and when there is none.

The wheel is built as a user's is, and tried in processes of its own: this one has the sources.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = ROOT / "registry"
SEEDS = ["1", "2", "3", "4", "5"]
# Left out: tests that give a compiled class a stand-in for another; it takes the real one only.
CORE_TESTS = [
    "tests/registry/raft",
    "tests/registry/mvcc",
    "tests/registry/lease",
    "tests/registry/node/test_node_background.py",
    "tests/registry/node/test_node_command.py",
    "tests/registry/node/test_node_proposals.py",
    "tests/registry/node/test_node_reads.py",
    "tests/registry/node/test_node_state_hash.py",
    "tests/registry/node/test_node_state_hash_members.py",
    "tests/registry/node/test_node_recovery.py",
]

pytestmark = pytest.mark.timeout(900)  # a busy machine compiles slowly


def build(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build the registry's wheel into `out`."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=REGISTRY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def run(cores: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the tests' modules, with a wheel's content or with the sources."""
    path = [str(ROOT / "tests")] if cores is None else [str(cores), str(ROOT / "tests")]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def compile_cores() -> ModuleType:
    """Return the build's own program as a module."""
    spec = importlib.util.spec_from_file_location("compile_cores", REGISTRY / "compile_cores.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a compiled wheel."""
    out = tmp_path_factory.mktemp("wheel")
    done = build(out, TIANLU_COMPILE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    assert "-none-any" not in wheel.name
    content = out / "content"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(content)
    return content


def test_every_module_of_the_groups_is_compiled_and_keeps_its_source(cores: Path) -> None:
    groups = compile_cores().python_groups(REGISTRY / "src")
    files = [Path(file) for members, _ in groups for file in members]
    assert files
    for file in files:
        assert (cores / file).exists()
        assert len(list((cores / file).parent.glob(f"{file.stem}.*.so"))) == 1
    libraries = [path.name.partition("__mypyc")[0] for path in cores.glob("*__mypyc*.so")]
    assert sorted(libraries) == sorted(name for _, name in groups)


def test_compiled_cores_pass_the_tests_of_the_cores(cores: Path) -> None:
    plugin = ["-p", "registry.compiled.require_compiled", "-p", "no:cacheprovider"]
    done = run(cores, "-m", "pytest", "-q", *plugin, *CORE_TESTS)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def test_a_simulation_with_faults_holds_on_compiled_cores(cores: Path) -> None:
    done = run(cores, "-m", "tianlu", "sim", "--first-seed", "7", "--seeds", "3")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def test_compiled_and_interpreted_cores_come_to_the_same_bytes(cores: Path) -> None:
    results = []
    for place, kind in ((None, "interpreted"), (cores, "compiled")):
        done = run(place, "-m", "registry.compiled.replay", *SEEDS)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["cores"] == kind
        results.append(result["digests"])
    assert results[0] == results[1]
    assert len(set(results[0].values())) == len(SEEDS)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TIANLU_COMPILE": "0"}, "TIANLU_COMPILE=0"),
        ({"TIANLU_COMPILE": "", "CC": "/nowhere/cc"}, "this machine lacks a C compiler"),
        (
            {"TIANLU_COMPILE": "", "CC": "false"},
            "this machine lacks a C compiler that works: false does not",
        ),
    ],
)
def test_without_a_compiler_the_wheel_is_for_every_machine(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    done = build(tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert "tianlu_registry/mvcc/store.py" in names
    assert not [name for name in names if name.endswith((".so", ".c"))]
    assert f"tianlu-registry is built without compiled cores: {reason}" in done.stderr + done.stdout


def test_who_insists_on_compiled_cores_is_told_why_there_are_none(tmp_path: Path) -> None:
    done = build(tmp_path, TIANLU_COMPILE="1", CC="/nowhere/cc")
    assert done.returncode != 0
    assert "TIANLU_COMPILE=1, but the cores are not compiled: this machine lacks a C compiler" in (
        done.stderr
    )
    assert not list(tmp_path.glob("*.whl"))
