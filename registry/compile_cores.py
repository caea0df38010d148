"""Compiles what is worth compiling of the registry: `python compile_cores.py SOURCES OUT`.

The build hook (`hatch_build.py`) runs this as a process of its own: mypyc works from the current
directory and ends its process where it finds an error. Two kinds of modules are compiled:

    modules in Python   those of `GROUPS`, with mypyc; each group becomes one shared library, and
                        the groups are compiled side by side
    modules in C        every `_*.c` in the sources, which is a module of its own

Beside each library of a group every module of it gets a small one under its own name; the sources
in Python stay in the wheel, for readers and stack traces.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

GROUPS: Final = {
    "raft": ("raft/*.py",),
    # Not mvcc/watch.py: the simulation observes the hub in a class derived from it.
    "store": ("mvcc/[!w]*.py", "mvcc/watch_*.py", "mvcc/write.py", "lease/*.py"),
    "apply": (
        "node/applier.py",
        "node/background.py",
        "node/command.py",
        "node/loop.py",
        "node/machine.py",
        "node/proposals.py",
        "node/reads.py",
        "node/state_hash.py",
        "storage/backend.py",
        "storage/backend_table.py",
        "storage/log.py",
    ),
}
"""Name of a group: its modules, as patterns below `tianlu_registry`. What pays, and what does not:
docs/adr/0021."""

PACKAGE: Final = "tianlu_registry"
OPTIMIZATION: Final = "1"


def python_groups(sources: Path) -> list[tuple[list[str], str]]:
    """Return the files of each group, relative to `sources`, and the name of its library.

    Raises:
        SystemExit: a pattern names no file.
    """
    groups: list[tuple[list[str], str]] = []
    for name, patterns in GROUPS.items():
        files: list[str] = []
        for pattern in patterns:
            found = sorted((sources / PACKAGE).glob(pattern))
            if not found:
                raise SystemExit(f"compile_cores: no file is like {PACKAGE}/{pattern}")
            files += [str(path.relative_to(sources)) for path in found]
        groups.append((files, f"{PACKAGE}_{name}"))
    return groups


def compile_all(sources: Path, out: Path) -> None:
    """Compile everything of `sources` into `out`, laid out as in a wheel."""
    # Here, not above: only an environment that compiles has them.
    from mypyc.build import mypycify
    from setuptools import Distribution, Extension

    groups = python_groups(sources)
    files = [file for members, _ in groups for file in members]
    with tempfile.TemporaryDirectory(prefix="tianlu-cores-") as scratch:
        # mypyc finds modules from the working directory, and writes its cache there.
        shutil.copytree(sources / PACKAGE, Path(scratch, PACKAGE))
        os.chdir(scratch)
        # What happens to be installed beside the compiler must not change what comes of it.
        options = ["--config-file=", "--no-site-packages", "--ignore-missing-imports"]
        extensions = mypycify(
            [*options, *files],
            opt_level=OPTIMIZATION,
            debug_level="0",
            separate=groups,
            target_dir="c",
        )
        for extension in extensions:
            # A compiler newer than ours may warn of what ours does not.
            arguments = extension.extra_compile_args
            extension.extra_compile_args = [one for one in arguments if one != "-Werror"]
        for path in sorted(Path(PACKAGE).glob("**/_*.c")):
            name = ".".join(path.with_suffix("").parts)
            extensions.append(Extension(name, [str(path)], extra_compile_args=["-O2", "-g0"]))
        build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        build.build_lib = str(out)
        build.build_temp = "objects"
        build.parallel = os.cpu_count() or 1
        build.ensure_finalized()
        build.run()


if __name__ == "__main__":
    compile_all(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
