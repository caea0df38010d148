"""The commands: options in, plans out, results shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, TypeAlias, TypeVar

import typer

from tianlu._cli import options
from tianlu._cli.bench import choices, report
from tianlu._cli.bench.ground import PREFIX_DEFAULT
from tianlu._cli.bench.leases import LeasePlan, LeaseResults, run_leases
from tianlu._cli.bench.operations import Consistency, KeySpace, Kind, Operations
from tianlu._cli.bench.phases import Result
from tianlu._cli.bench.runs import KvPlan, WatchPlan, run_kv, run_watches
from tianlu._cli.calls import EXIT_REFUSED, fail
from tianlu._cli.output import show_data
from tianlu._errors import InvalidInput, TianluError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Measure a registry, or any other server that speaks etcd v3.",
    rich_markup_mode="markdown",
)

T = TypeVar("T")
Measured: TypeAlias = tuple[str, Result]
"""What was counted, in plural, and the result."""

_EXIT_INTERRUPTED: Final = 130
_READ_RATIO_DEFAULT: Final = 0.5


@app.command()
def kv(
    kind: Annotated[Kind, typer.Argument(help="What is asked.")],
    connections: choices.Connections = 8,
    streams: Annotated[
        int, typer.Option(min=1, max=10_000, help="Calls at once on each connection.")
    ] = 16,
    key_space: Annotated[
        int, typer.Option(min=1, max=10**9, help="How many keys; each call chooses at random.")
    ] = 100_000,
    keys_per_request: Annotated[
        int, typer.Option(min=1, help="How many keys `range` reads and `delete` deletes.")
    ] = 1_000,
    value_bytes: choices.ValueBytes = 100,
    consistency: Annotated[
        Consistency, typer.Option(help="What reads may answer.")
    ] = Consistency.LINEARIZABLE,
    read_ratio: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of reads in `mix`; half if not given."),
    ] = None,
    seconds: choices.Seconds = choices.SECONDS_DEFAULT,
    total: choices.Total = 0,
    rate: choices.Rate = 0.0,
    seed: choices.Seed = 1,
    processes: choices.Processes = 1,
    prefix: choices.Prefix = PREFIX_DEFAULT,
    keep: choices.Keep = False,
    server_pid: choices.ServerPid = None,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Measure key-value calls: latencies, calls a second, and the server's CPU.

    `put` writes a random key, `get` reads one, `range` reads 1,000 in a row, `txn` writes one if it
    exists, `delete` deletes 1,000 in a row (each once), `mix` reads or writes one. All but `put`
    make the keys first.

    Examples:

      tianlu bench kv put --seconds 5

      tianlu bench kv mix --read-ratio 0.9 --rate 2000 --connections 32 --streams 1

      tianlu bench kv range --consistency serializable --endpoints 10.0.0.4:2379 --output json
    """

    def run() -> dict[str, Measured]:
        _check_kv(kind, key_space, keys_per_request, read_ratio)
        plan = KvPlan(
            operations=Operations(
                kind=kind,
                keys=KeySpace(prefix.encode(), key_space, value_bytes),
                consistency=consistency,
                keys_per_request=keys_per_request,
                read_ratio=_READ_RATIO_DEFAULT if read_ratio is None else read_ratio,
                seed=seed,
            ),
            connections=connections,
            streams=streams,
            seconds=seconds,
            total=total or None,
            rate=rate,
        )
        found = choices.setting(
            endpoints=endpoints,
            timeout_seconds=timeout,
            processes=processes,
            prefix=prefix,
            keep=keep,
            server_pid=server_pid,
        )
        return {f"{kind}, {connections} x {streams}": ("requests", run_kv(found, plan))}

    _show(_call(run), output)


@app.command()
def watch(
    watchers: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many, a stream each.")
    ] = 1_000,
    connections: choices.Connections = 10,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Each watches a prefix of its own, not all one key.")
    ] = False,
    value_bytes: choices.ValueBytes = 100,
    ahead: Annotated[
        int,
        typer.Option(min=1, max=10_000, help="Without --rate: writes that may be on their way."),
    ] = 50,
    seconds: choices.Seconds = choices.SECONDS_DEFAULT,
    total: choices.Total = 0,
    rate: choices.Rate = 0.0,
    seed: choices.Seed = 1,
    processes: choices.Processes = 1,
    prefix: choices.Prefix = PREFIX_DEFAULT,
    keep: choices.Keep = False,
    server_pid: choices.ServerPid = None,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Measure watches: events a second, and how long after its write an event arrives.

    Give a --rate to measure the delay of a server that keeps up; without one the rate is what all
    watchers together can take, and the delay is that of a server at its limit.

    Examples:

      tianlu bench watch --watchers 5000 --connections 50

      tianlu bench watch --distinct --watchers 10000 --rate 1000
    """

    def run() -> dict[str, Measured]:
        plan = WatchPlan(
            watchers=watchers,
            connections=min(connections, watchers),
            distinct=distinct,
            value_bytes=value_bytes,
            events_ahead=ahead,
            seconds=seconds,
            total=total or None,
            rate=rate,
            seed=seed,
        )
        found = choices.setting(
            endpoints=endpoints,
            timeout_seconds=timeout,
            processes=processes,
            prefix=prefix,
            keep=keep,
            server_pid=server_pid,
        )
        events, writes = run_watches(found, plan)
        each = "a prefix each" if distinct else "one key"
        title = f"events to {watchers:,} watchers of {each}"
        return {title: ("events", events), "their writes": ("writes", writes)}

    _show(_call(run), output)


@app.command()
def lease(
    leases: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many.")] = 10_000,
    connections: choices.Connections = 8,
    streams: Annotated[
        int, typer.Option(min=1, max=1_000, help="Keep-alive streams on each connection.")
    ] = 1,
    at_once: Annotated[
        int, typer.Option(min=1, max=10_000, help="Renewals on a stream without an answer yet.")
    ] = 16,
    ttl: Annotated[
        int,
        typer.Option(min=1, max=9_000_000_000, help="Seconds; enough to grant all of them."),
    ] = 300,
    expire: Annotated[
        int,
        typer.Option(
            min=0, max=100_000, help="Let so many others end, and measure how late; 0: none."
        ),
    ] = 100,
    seconds: choices.Seconds = choices.SECONDS_DEFAULT,
    total: choices.Total = 0,
    processes: choices.Processes = 1,
    prefix: choices.Prefix = PREFIX_DEFAULT,
    keep: choices.Keep = False,
    server_pid: choices.ServerPid = None,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Measure leases: grants and renewals a second, and how late those end that nobody renews.

    Examples:

      tianlu bench lease --leases 100000 --seconds 20

      tianlu bench lease --expire 1000 --seconds 1
    """

    def run() -> dict[str, Measured]:
        plan = LeasePlan(
            leases=leases,
            connections=min(connections, leases),
            streams=streams,
            at_once=at_once,
            ttl_seconds=ttl,
            seconds=seconds,
            total=total or None,
            expiring=expire,
        )
        found = choices.setting(
            endpoints=endpoints,
            timeout_seconds=timeout,
            processes=processes,
            prefix=prefix,
            keep=keep,
            server_pid=server_pid,
        )
        return _named(run_leases(found, plan))

    _show(_call(run), output)


def _named(results: LeaseResults) -> dict[str, Measured]:
    named = {
        "granting": ("grants", results.grants),
        "renewing": ("renewals", results.renewals),
    }
    if results.endings is not None:
        named["ending, later than due"] = ("leases", results.endings)
    return named


def _check_kv(kind: Kind, key_space: int, keys_per_request: int, ratio: float | None) -> None:
    if ratio is not None and kind is not Kind.MIX:
        raise InvalidInput("--read-ratio", f"belongs to mix, not to {kind}")
    if kind in (Kind.RANGE, Kind.DELETE) and keys_per_request > key_space:
        raise InvalidInput(
            "--keys-per-request", f"must be {key_space} or less, as many as --key-space"
        )


def _call(run: Callable[[], T]) -> T:
    """Run a benchmark; errors become one line and an exit status."""
    try:
        return run()
    except TianluError as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo("tianlu: interrupted before anything was measured", err=True)
        raise typer.Exit(_EXIT_INTERRUPTED) from None


def _show(results: Mapping[str, Measured], output: options.Output) -> None:
    """Write results. Exit status 1 if nothing of one succeeded."""
    if output is options.Output.TABLE:
        parts = [report.text(title, unit, one) for title, (unit, one) in results.items()]
        typer.echo("\n\n".join(parts))
    else:
        show_data(output, {title: report.data(one) for title, (_, one) in results.items()})
    if not all(one.tally.done for _, one in results.values()):
        raise typer.Exit(EXIT_REFUSED)
