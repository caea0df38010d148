"""The build hook: when it builds, what it asks for, and what it compiles."""

from __future__ import annotations

import gettext
import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

CONSOLE = Path(__file__).parents[2] / "console"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    pytest.importorskip("hatchling", reason="build requirement, not installed for running")
    spec = importlib.util.spec_from_file_location("hatch_build", CONSOLE / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def frontend(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    for name in ("package.json", "package-lock.json", "build.mjs", "icons.txt", "src/app.js"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["package-lock.json", "build.mjs", "icons.txt", "src/app.js", "src/new.css"]
)
def test_every_input_makes_the_built_assets_stale(
    hook: ModuleType, frontend: Path, name: str
) -> None:
    before = hook.input_digest(frontend)
    assert hook.input_digest(frontend) == before
    (frontend / name).write_text("changed")
    assert hook.input_digest(frontend) != before


def test_an_interrupted_build_counts_as_none(hook: ModuleType, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    assert hook.read_built_digest(manifest) is None
    manifest.write_text('{"inputs": ')
    assert hook.read_built_digest(manifest) is None
    manifest.write_text(json.dumps({"inputs": "abc", "files": {}}))
    assert hook.read_built_digest(manifest) == "abc"


def test_packages_are_fetched_only_when_the_lock_changes(
    hook: ModuleType, frontend: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append([str(each) for each in command])
        (frontend / "node_modules").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    hook.install_packages(frontend, ["node", "npm"], {})
    hook.install_packages(frontend, ["node", "npm"], {})
    assert len(commands) == 1
    assert commands[0][:3] == ["node", "npm", "ci"]
    assert "--ignore-scripts" in commands[0]
    (frontend / "package-lock.json").write_text("newer")
    hook.install_packages(frontend, ["node", "npm"], {})
    assert len(commands) == 2


def test_an_unreachable_registry_says_what_to_do(
    hook: ModuleType, frontend: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(hook.FrontendFailed, match="TIANLU_SKIP_FRONTEND=1"):
        hook.install_packages(frontend, ["node", "npm"], {})
    assert not (frontend / "node_modules").exists()


def test_catalogues_are_compiled_when_their_source_is_newer(
    hook: ModuleType, tmp_path: Path
) -> None:
    messages = tmp_path / "zh_Hans" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    source = messages / "console.po"
    source.write_text('msgid "Services"\nmsgstr "服务"\n', encoding="utf-8")
    hook.compile_catalogues(tmp_path)
    assert gettext.translation("console", tmp_path, ["zh_Hans"]).gettext("Services") == "服务"
    compiled = messages / "console.mo"
    stamp = compiled.stat().st_mtime_ns
    hook.compile_catalogues(tmp_path)
    assert compiled.stat().st_mtime_ns == stamp


def test_the_lock_names_no_host_and_pins_every_package() -> None:
    lock = json.loads((CONSOLE / "frontend" / "package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert len(packages) > 5
    for name, facts in packages.items():
        assert "resolved" not in facts, name
        assert facts["integrity"].startswith("sha512-"), name


def test_uv_rebuilds_when_any_input_changes() -> None:
    import tomllib

    keys = tomllib.loads((CONSOLE / "pyproject.toml").read_text())["tool"]["uv"]["cache-keys"]
    watched = {each["file"] for each in keys}
    assert "src/tianlu_console/static/dist/manifest.json" in watched, (
        "or `git clean` loses the assets"
    )
    for name in ("package.json", "package-lock.json", "build.mjs", "icons.txt", "src/*"):
        assert f"frontend/{name}" in watched
