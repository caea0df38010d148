"""Build hook: a wheel for this machine with compiled cores, or one for every machine without.

The wheel is compiled where a C compiler and Python's headers are found, and says in one line when
they are not. `TIANLU_COMPILE` decides otherwise: 0 never compiles, 1 fails where it cannot. An
editable installation is never compiled: a library beside a source would hide the source.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "TIANLU_COMPILE"
REQUIREMENTS = ["mypy>=2.0", "setuptools>=77"]


def what_is_missing() -> str | None:
    """Return what compiling needs and this machine does not have; None if nothing is missing."""
    configured = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    compiler = configured.split()[0]
    if shutil.which(compiler) is None:
        return "a C compiler"
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        return "the headers of Python (python3-dev)"
    tried = subprocess.run(
        [compiler, "-I", include, "-x", "c", "-fsyntax-only", "-"],
        input=b"#include <Python.h>\n",
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return None if tried.returncode == 0 else f"a C compiler that works: {compiler} does not"


class CoresBuildHook(BuildHookInterface):
    """Runs before each wheel."""

    def dependencies(self) -> list[str]:
        """Return what the build needs installed in order to compile."""
        wanted = os.environ.get(SWITCH)
        compiles = wanted == "1" or (wanted != "0" and what_is_missing() is None)
        return REQUIREMENTS if compiles else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put what came of it into the wheel.

        Raises:
            RuntimeError: `TIANLU_COMPILE=1`, and it cannot be done.
        """
        self._compiled = tempfile.TemporaryDirectory(prefix="tianlu-wheel-")
        if self.target_name != "wheel" or version == "editable":
            return
        failure = self._compile(Path(self._compiled.name))
        if failure is None:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            for path in Path(self._compiled.name).rglob("*.so"):
                relative = path.relative_to(self._compiled.name)
                build_data["force_include"][str(path)] = str(relative)
        elif os.environ.get(SWITCH) == "1":
            raise RuntimeError(f"{SWITCH}=1, but the cores are not compiled: {failure}")
        else:
            self.app.display_warning(f"tianlu-registry is built without compiled cores: {failure}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._compiled.cleanup()

    def _compile(self, out: Path) -> str | None:
        """Compile into `out`; return why not, if it was not done."""
        if os.environ.get(SWITCH) == "0":
            return f"{SWITCH}=0"
        missing = what_is_missing()
        if missing is not None:
            return f"this machine lacks {missing}"
        program = Path(self.root, "compile_cores.py")
        done = subprocess.run(
            [sys.executable, str(program), str(Path(self.root, "src")), str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return None
        self.app.display_info(done.stdout)
        lines = done.stdout.strip().splitlines() or ["no reason was given"]
        return lines[-1]
