"""Finding the shared library of the running Python, which Envoy preloads to run Python inside."""

from __future__ import annotations

import ctypes.util
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from tianlu_registry.server.errors import EXIT_UNAVAILABLE, CannotStart


def find_libpython(directories: Iterable[Path] | None = None) -> Path:
    """Return the shared libpython of the running interpreter's version.

    Args:
        directories: where to look; by default where this interpreter was installed to, and then
            wherever the system's loader finds libraries.

    Raises:
        CannotStart: there is none; the message names the package to install.
    """
    for directory in _library_directories() if directories is None else directories:
        for name in _library_names():
            if (directory / name).is_file():
                return directory / name
    if directories is None:
        found = ctypes.util.find_library(f"python{_version()}")
        if found is not None:
            return Path(found)  # a soname: the loader that found it also preloads it by name
    raise CannotStart(
        f"no shared libpython{_version()} for {sys.executable}, which Envoy needs to run Python; "
        f"on Debian and Ubuntu: apt-get install libpython{_version()} "
        "(pyenv: build with --enable-shared; uv's own Pythons have it)",
        EXIT_UNAVAILABLE,
    )


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _library_names() -> list[str]:
    configured = sysconfig.get_config_var("INSTSONAME")
    names = [f"libpython{_version()}.so.1.0", f"libpython{_version()}.so"]
    if isinstance(configured, str) and ".so" in configured:
        names.insert(0, configured)
    return names


def _library_directories() -> list[Path]:
    library_directory = sysconfig.get_config_var("LIBDIR")
    multiarch = sysconfig.get_config_var("MULTIARCH")
    directories = [Path(sys.base_prefix) / "lib"]
    if library_directory:
        directories.append(Path(library_directory))
        if multiarch:
            directories.append(Path(library_directory) / multiarch)
    return directories
