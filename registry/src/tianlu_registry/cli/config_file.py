"""etcd's configuration file, as a command line.

YAML or JSON: a mapping from flags' names to values, with the two groups of etcd's for TLS. As in
etcd, what else stands on the command line or in variables does not count beside a file.

Source: etcd server/embed/config.go (`configYAML`, `securityConfig`), etcd.conf.yml.sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from tianlu_registry.cli.arguments import OurFlags
from tianlu_registry.cli.etcd_flags import ETCD_FLAGS
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

FLAG: Final = "--config-file"
FILE_BYTES_MAX: Final = 1024 * 1024

_SHARED: Final = (
    *("cert-file", "key-file", "client-cert-auth", "trusted-ca-file", "auto-tls"),
    *("client-cert-file", "client-key-file"),
)
_GROUPS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "client-transport-security": {name: name for name in _SHARED},
        "peer-transport-security": {
            **{name: f"peer-{name}" for name in _SHARED},
            "allowed-cn": "peer-cert-allowed-cn",
            "allowed-hostname": "peer-cert-allowed-hostname",
        },
    }
)
"""Names within a group, and the flags that they are."""


def file_arguments(path: Path, ours: OurFlags) -> list[str]:
    """Return what a file says as arguments, ``--name=value`` each.

    Raises:
        CannotStart: the file cannot be read, or names what is no flag.
    """
    content = _load(path)
    known = {*ours.switches, *ours.others, *ETCD_FLAGS}
    return [
        f"--{name}={value}"
        for name, value in _settings(content, path)
        if _is_known(name, known, path)
    ]


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _wrong(path, f"is longer than {FILE_BYTES_MAX} bytes")
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date of month 13, for one
        where = getattr(error, "problem_mark", None)
        line = f"line {where.line + 1}: " if where else ""
        raise _wrong(path, f"{line}is neither YAML nor JSON") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _wrong(path, "must be a mapping from flags' names to values")
    return content


def _settings(content: Mapping[Any, Any], path: Path) -> Iterator[tuple[str, str]]:
    """Yield flags' names and values; what is left empty says nothing."""
    for name, value in content.items():
        group = _GROUPS.get(name)
        if group is None:
            if value is not None:
                yield str(name), _text(f"{name}", value, path)
            continue
        for inner, inner_value in _mapping(name, value, path).items():
            if inner not in group:
                raise _wrong(path, f"{name}.{inner}: is none of {', '.join(group)}")
            if inner_value is not None:
                yield group[inner], _text(f"{name}.{inner}", inner_value, path)


def _mapping(name: str, value: object, path: Path) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, f"{name}: must be a mapping")
    return value


def _text(name: str, value: object, path: Path) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return ",".join(str(each) for each in value)
    raise _wrong(path, f"{name}: must be a text, a number, true or false, or a list of them")


def _is_known(name: str, known: set[str], path: Path) -> bool:
    if name not in known:
        raise _wrong(path, f"{name}: is no flag of this node; see tianlu registry --help")
    return True


def _wrong(path: Path, problem: str) -> CannotStart:
    return CannotStart(f"{FLAG}: {path}: {problem}", EXIT_USAGE)
