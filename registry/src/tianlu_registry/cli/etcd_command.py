"""The command's class: it reads its arguments as etcd would."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import typer
from typer._click import Context
from typer.core import TyperGroup

from tianlu_registry.cli.arguments import Arguments, OurFlags, read_arguments, read_etcd_flag
from tianlu_registry.cli.config_file import FLAG as FILE_FLAG
from tianlu_registry.cli.config_file import file_arguments
from tianlu_registry.cli.etcd_flags import ETCD_FLAGS
from tianlu_registry.cli.failing import failed
from tianlu_registry.cli.flags import variable_of
from tianlu_registry.cli.serving_flags import LogFormat, LogLevel, RunningFlags
from tianlu_registry.server.errors import CannotStart
from tianlu_registry.server.logs import set_up_logging

_log = logging.getLogger(__name__)

_IDLE: Final = "tianlu_registry.idle_flags"
_IGNORED: Final = "tianlu_registry.ignored_flags"


class EtcdCommand(TyperGroup):
    """Takes etcd's command lines and configuration files."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Read the arguments in etcd's manner; see `arguments`."""
        if {"--version", "-version"} & set(args):
            print(f"tianlu registry {version('tianlu-registry')}; serves the API of etcd 3.5")
            raise typer.Exit
        ours = self._flags()
        try:
            read = read_arguments(args, ours)
            file = _file_of(read.arguments)
            if file is None:
                _read_variables(read)
            else:
                ctx.meta[_IGNORED] = _ignored(read.arguments, ours)
                read = read_arguments(file_arguments(file, ours), ours)
        except CannotStart as error:
            raise failed(str(error), error.exit_code) from error
        _drop_variables(read.off)
        ctx.meta[_IDLE] = read.idle
        return super().parse_args(ctx, read.arguments)

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - as the library has it
        """Set up the log, say what was not heeded, and run."""
        running = RunningFlags(
            log_level=LogLevel(ctx.params["log_level"]),
            log_format=LogFormat(ctx.params["log_format"]),
        )
        set_up_logging(running.level, running.log_format.value)
        for name in ctx.meta[_IDLE]:
            _log.warning("flag.without_effect flag=--%s reason=%r", name, ETCD_FLAGS[name].why)
        ignored = ctx.meta.get(_IGNORED)
        if ignored:
            _log.warning("config_file.counts_alone ignored=%s", ",".join(ignored))
        return super().invoke(ctx)

    def _flags(self) -> OurFlags:
        switches, negations, others = set(), set(), set()
        for parameter in self.params:
            names = {option.removeprefix("--") for option in parameter.opts}
            if getattr(parameter, "is_flag", False):
                switches |= names
                if parameter.secondary_opts:
                    negations |= names
                    switches |= {option.removeprefix("--") for option in parameter.secondary_opts}
            else:
                others |= names
        return OurFlags(switches, negations, others)


def _file_of(arguments: list[str]) -> Path | None:
    """Return the configuration file that is asked for, by flag or variable."""
    if FILE_FLAG in arguments:
        return Path(arguments[arguments.index(FILE_FLAG) + 1])
    variable = os.environ.get(variable_of("config_file"))
    return Path(variable) if variable else None


def _ignored(arguments: Iterable[str], ours: OurFlags) -> list[str]:
    """Return what does not count beside a configuration file; take the variables away."""
    flags = [each for each in arguments if each.startswith("--") and each != FILE_FLAG]
    names = [name.replace("-", "_") for name in (*ours.switches, *ours.others)]
    variables = sorted({variable_of(name) for name in names} & set(os.environ))
    _drop_variables(names)
    return [*flags, *(each for each in variables if each != variable_of("config_file"))]


def _drop_variables(names: Iterable[str]) -> None:
    for name in names:
        os.environ.pop(variable_of(name.replace("-", "_")), None)


def _read_variables(read: Arguments) -> None:
    """Take in what variables say of flags that are not ours."""
    for name in ETCD_FLAGS:
        value = os.environ.get(variable_of(name.replace("-", "_")))
        if value is not None and name not in read.idle:
            read_etcd_flag(name, value, read)
