"""What a benchmark measured: as text with a histogram, and as data."""

from __future__ import annotations

from typing import Any, Final

from tianlu._cli.bench.histogram import Histogram, scale
from tianlu._cli.bench.phases import BUSY_SHARE, Result

_SHARES: Final = (0.5, 0.9, 0.99, 0.999)
_BAR_WIDTH: Final = 40
_ERRORS_SHOWN: Final = 5
_MILLISECOND: Final = 1e6


def text(title: str, unit: str, result: Result) -> str:
    """Return a result as people read it.

    Args:
        title: what was measured.
        unit: what was counted, in plural.
    """
    tally = result.tally
    lines = [
        title,
        f"  {tally.done:,} {unit} in {result.seconds:.2f} s: {result.rate:,.0f}/s"
        + (f", {tally.failed:,} failed" if tally.failed else "")
        + (" (interrupted)" if result.interrupted else ""),
    ]
    if result.expected is not None and result.expected != tally.done:
        lines.append(f"  {result.expected:,} {unit} were to be expected")
    for name, histogram in tally.latencies.items():
        if histogram.count:
            lines += _latency(name, histogram)
    lines += _errors(result)
    cpu = result.server_cpu_microseconds
    if cpu is not None:
        lines.append(f"  server: {cpu:.1f} us of CPU for each of these {unit}")
    lines.append(f"  driver: {_driver(result)}")
    return "\n".join(lines)


def data(result: Result) -> dict[str, Any]:
    """Return a result as data; times are milliseconds."""
    tally = result.tally
    return {
        "done": tally.done,
        "failed": tally.failed,
        "expected": result.expected,
        "seconds": round(result.seconds, 6),
        "rate": round(result.rate, 3),
        "interrupted": result.interrupted,
        "latency_ms": {name: _data(one) for name, one in tally.latencies.items() if one.count},
        "errors": dict(tally.errors.most_common()),
        "server_cpu_us": result.server_cpu_microseconds,
        "driver": {
            "processes": result.processes,
            "busiest_cpu_share": round(result.busy, 4),
            "was_the_limit": result.busy > BUSY_SHARE,
        },
    }


def _data(histogram: Histogram) -> dict[str, Any]:
    return {
        "mean": histogram.mean / _MILLISECOND,
        **{f"p{share * 100:g}": histogram.percentile(share) / _MILLISECOND for share in _SHARES},
        "max": histogram.largest / _MILLISECOND,
        "count": histogram.count,
        "histogram": [[upper / _MILLISECOND, count] for upper, count in histogram.filled()],
    }


def _latency(name: str, histogram: Histogram) -> list[str]:
    figures = [f"mean {_milliseconds(histogram.mean)}"]
    figures += [
        f"p{share * 100:g} {_milliseconds(histogram.percentile(share))}" for share in _SHARES
    ]
    figures.append(f"max {_milliseconds(histogram.largest)}")
    return [f"  {name}, ms: {'  '.join(figures)}", *_bars(histogram)]


def _bars(histogram: Histogram) -> list[str]:
    """Draw the histogram: a bar for each range of latencies that holds any, and those between."""
    edges = scale(histogram.percentile(0.0), histogram.largest)
    rows = histogram.rows(edges)
    filled = [number for number, count in enumerate(rows) if count]
    longest = max(rows)
    lines = []
    for number in range(filled[0], filled[-1] + 1):
        upper = edges[number] if number < len(edges) else histogram.largest
        bar = "#" * max(round(rows[number] / longest * _BAR_WIDTH), 1 if rows[number] else 0)
        share = rows[number] / histogram.count
        lines.append(f"    < {_milliseconds(upper):>8}  {bar:<{_BAR_WIDTH}} {share:>7.2%}")
    return lines


def _errors(result: Result) -> list[str]:
    common = result.tally.errors.most_common(_ERRORS_SHOWN)
    return [f"  {count:,} x {said}" for said, count in common]


def _driver(result: Result) -> str:
    processes = "1 process" if result.processes == 1 else f"{result.processes} processes"
    used = f"{processes}, the busiest used {result.busy:.0%} of a processor"
    if result.busy <= BUSY_SHARE:
        return used
    return f"{used}: the driver itself was the limit, raise --processes"


def _milliseconds(nanoseconds: float) -> str:
    value = nanoseconds / _MILLISECOND
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"
