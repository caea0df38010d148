"""A command line in etcd's manner, made into one in ours.

Go's flags may have one dash or two, and a switch may be given a value: ``-client-cert-auth=true``.
etcd's own flags that we have not are taken away here; see `etcd_flags`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tianlu_registry.cli.etcd_flags import ETCD_FLAGS
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})


@dataclass(frozen=True, slots=True)
class OurFlags:
    """What our command understands.

    Attributes:
        switches: names of flags that stand without a value.
        negations: those of them that have a form with ``--no-``.
        others: names of flags that need one.
    """

    switches: Collection[str]
    negations: Collection[str]
    others: Collection[str]


@dataclass(slots=True)
class Arguments:
    """A command line in our manner.

    Attributes:
        arguments: for our command.
        off: names of switches that were said to be off, which must also not be on by a variable.
        idle: etcd's flags without effect, in order.
    """

    arguments: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)


def read_arguments(given: Sequence[str], ours: OurFlags) -> Arguments:
    """Return a command line in our manner.

    Raises:
        CannotStart: a flag of etcd's asks for what cannot be had, or a switch has a value that is
            none of a switch.
    """
    read = Arguments()
    rest = iter(given)
    for argument in rest:
        name, _, value = argument.lstrip("-").partition("=")
        has_value = "=" in argument
        if not argument.startswith("-") or argument.strip("-") == "":
            read.arguments.append(argument)
        elif argument == "-h":
            read.arguments.append("--help")
        elif name in ours.switches:
            _read_switch(name, value if has_value else "true", ours, read)
        elif name in ours.others:
            read.arguments.extend([f"--{name}", value if has_value else _next(name, rest)])
        elif name in ETCD_FLAGS:
            read_etcd_flag(name, value if has_value else _implied(name, rest), read)
        else:
            read.arguments.append(argument)
    return read


def read_etcd_flag(name: str, value: str, read: Arguments) -> None:
    """Take in a flag of `ETCD_FLAGS`.

    Raises:
        CannotStart: it asks for what cannot be had.
    """
    flag = ETCD_FLAGS[name]
    flag.check(f"--{name}", value)
    if flag.same_as:
        read.arguments.extend([flag.same_as, value])
    else:
        read.idle.append(name)


def _read_switch(name: str, value: str, ours: OurFlags, read: Arguments) -> None:
    if value.lower() in _TRUE:
        read.arguments.append(f"--{name}")
    elif value.lower() not in _FALSE:
        raise CannotStart(f"--{name}: is {value!r}; give true or false", EXIT_USAGE)
    elif name in ours.negations:
        read.arguments.append(f"--no-{name}")
    else:
        read.off.append(name)


def _implied(name: str, rest: Iterator[str]) -> str:
    return "true" if ETCD_FLAGS[name].is_switch else _next(name, rest)


def _next(name: str, rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise CannotStart(f"--{name}: needs a value", EXIT_USAGE)
    return value
