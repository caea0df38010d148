"""`tianlu sim`: clusters in a simulated world, seed after seed."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.plan import Scenario
from tianlu_registry.simulation.reduction import Reduction
from tianlu_registry.simulation.violation import Violation

SEEDS_DEFAULT: Final = 100
MUTATIONS_MODULE: Final = "simulation.mutations_state"
"""Where a bare name of a mutation is looked for: on the path when run in a checkout's tests/."""

EXIT_VIOLATION: Final = 1


class Output(StrEnum):
    """How the result is written."""

    TEXT = "text"
    JSON = "json"


@dataclass
class Result:
    """What some seeds came to.

    Attributes:
        seeds: how many ended well.
        failed_seed, violation: the one that did not.
        reduced: the shortest run found that fails in the same way, in words.
        trace: what happens in it.
        plan: what the failed seed draws.
        seen: how often what happened.
    """

    first_seed: int
    seeds: int = 0
    failed_seed: int | None = None
    violation: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    reduced: str = ""
    trace: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


def sim(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = SEEDS_DEFAULT,
    first_seed: Annotated[
        int | None,
        typer.Option("--first-seed", min=0, help="The first; a random one if not given."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Run this one only.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Go on for so long instead.")
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="With --seed: print everything that happens.")
    ] = False,
    reduce_seconds: Annotated[
        float,
        typer.Option("--reduce-seconds", min=0, help="Shorten a failing run for up to so long."),
    ] = 60.0,
    mutation: Annotated[
        str | None,
        typer.Option(
            "--mutation",
            metavar="NAME",
            help="Break the product so, to see that it is noticed. MODULE:NAME, or the NAME of one "
            "in tests/simulation when run from a checkout's tests directory.",
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write.")] = Output.TEXT,
) -> None:
    """Run whole registry clusters in a simulated world, and check what they promise.

    Each seed draws a cluster (1 to 7 members), its limits, its faults and its clients, and runs the
    product's own consensus core, write-ahead log, key-value store, leases and watches on a
    simulated network, clock and disk: messages are lost, delayed, repeated and cut off one way;
    power fails in the midst of writes; disks slow down or fail; clocks run apart; members stand
    still, come and go. After every step the guarantees of Raft, of leases, of watches and of
    linearizable reads are judged by code of its own. Then the faults end, and everything must work
    again within a bounded time.

    Nothing is written, no port is opened. A run takes about half a second, and the same seed with
    the same release makes the same run. A seed that fails is run again with less and less, until
    what is left explains the failure; then its events are printed.

    Exit status: 0 nothing was found, 1 a guarantee was broken, 2 wrong usage.

    Examples:

      tianlu sim --seeds 20

      tianlu sim --minutes 10

      tianlu sim --seed 1234 --trace

      tianlu sim --first-seed 0 --seeds 1000 --output json

      tianlu sim --first-seed 0 --mutation skip_a_sync
    """
    broken = _mutation(mutation)
    first = seed if seed is not None else first_seed
    result = Result(secrets.randbelow(1 << 32) if first is None else first)
    wanted = 1 if seed is not None else None if minutes is not None else seeds
    console = Console(stderr=True, highlight=False)
    console.print(f"first seed {result.first_seed}")
    with broken, _silence():
        _run_seeds(result, wanted, minutes, console)
        if trace and seed is not None:
            result.trace = _whole_trace(seed)
        elif result.failed_seed is not None:
            _explain(result, reduce_seconds, console)
    _write(result, output)
    if result.failed_seed is not None:
        raise typer.Exit(EXIT_VIOLATION)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Log nothing: torn tails are daily life here."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


def _run_seeds(result: Result, wanted: int | None, minutes: float | None, console: Console) -> None:
    """Run seeds until one fails, or enough have not."""
    with _progress(console) as progress:
        task = progress.add_task("seeds", total=wanted)
        for seed in _seeds(result.first_seed, wanted, minutes):
            progress.update(task, description=f"seed {seed}")
            cluster = Cluster(seed)
            try:
                cluster.run()
            except Violation as violation:
                result.failed_seed, result.violation = seed, str(violation)
                result.plan = asdict(cluster.plan)
                return
            finally:
                result.seen += cluster.seen
            result.seeds += 1
            progress.advance(task)


def _seeds(first: int, wanted: int | None, minutes: float | None) -> Iterator[int]:
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    for number in count():
        if wanted is not None and number >= wanted:
            return
        if end is not None and time.monotonic() >= end:
            return
        yield first + number


def _explain(result: Result, seconds_max: float, console: Console) -> None:
    """Shorten the failing run."""
    assert result.failed_seed is not None
    with _progress(console) as progress:
        task = progress.add_task("shortening", total=None)
        reduction = Reduction(
            Scenario(result.failed_seed),
            Violation(result.violation),
            seconds_max=seconds_max,
            on_try=lambda runs, steps: progress.update(
                task, description=f"shortening: {steps} steps left", completed=runs
            ),
        )
        reduction.run()
    result.reduced = reduction.describe()
    result.trace = [*reduction.trace(), f"       {reduction.violation}"]


def _whole_trace(seed: int) -> list[str]:
    cluster = Cluster(seed, trace_all=True)
    try:
        cluster.run()
    except Violation as violation:
        cluster.trace(str(violation))
    return list(cluster.trace_lines)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} done"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _mutation(name: str | None) -> AbstractContextManager[None]:
    if name is None:
        return nullcontext()
    module_name, _, short = name.rpartition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        mutations = import_module(module_name or MUTATIONS_MODULE).MUTATIONS
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(
            f"no mutations in {module_name or MUTATIONS_MODULE} ({error}); those of the project "
            "stand in its source: run this from the directory `tests` of a checkout"
        ) from error
    if short not in mutations:
        raise typer.BadParameter(f"{short} is none of {', '.join(sorted(mutations))}")
    broken: AbstractContextManager[None] = mutations[short]()
    return broken


def _write(result: Result, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps(vars(result), indent=2, sort_keys=True))
        return
    for line in result.trace:
        typer.echo(line)
    for name, times in sorted(result.seen.items()):
        typer.echo(f"  {name}: {times}")
    if result.failed_seed is None:
        typer.echo(f"{result.seeds} seeds, nothing found")
        return
    typer.echo(f"seed {result.failed_seed}: {result.violation}")
    typer.echo(result.reduced)
    typer.echo(f"all of it: tianlu sim --seed {result.failed_seed} --trace")
