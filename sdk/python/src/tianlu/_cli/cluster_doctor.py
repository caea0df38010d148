"""`tianlu cluster doctor`."""

from __future__ import annotations

import typer

from tianlu._cli import options
from tianlu._cli.cluster_calls import ask_cluster
from tianlu._cli.output import show_data
from tianlu._cluster.diagnosis import EXIT_STATUSES, Diagnosis, diagnose
from tianlu._cluster.report import Severity

_COLORS = {Severity.CRITICAL: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def doctor(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Say in plain words what is wrong with the cluster, why, and what to do about it.

    Asks every member that it can reach, and only what a member answers without the others, so it
    works without a leader too. Changes nothing. Exit status: 0 healthy, 1 warnings, 2 unhealthy.

    Examples:

      tianlu cluster doctor

      tianlu cluster doctor --endpoints 10.0.0.1:2379,10.0.0.2:2379 --output json
    """
    from tianlu._cluster.probe import examine

    report = ask_cluster(examine, endpoints=endpoints, timeout_seconds=timeout)
    diagnosis = diagnose(report)
    if output is options.Output.TABLE:
        typer.echo(_text(diagnosis), nl=False)
    else:
        show_data(output, diagnosis)
    raise typer.Exit(EXIT_STATUSES[diagnosis.verdict])


def _text(diagnosis: Diagnosis) -> str:
    lines = [diagnosis.summary]
    for finding in diagnosis.findings:
        severity = typer.style(finding.severity.value, fg=_COLORS[finding.severity], bold=True)
        lines += ["", f"{severity}: {finding.summary}  [{finding.check}]"]
        lines += [f"    {line}" for line in finding.evidence]
        if finding.next_step:
            lines.append(f"  → {finding.next_step}")
    return "\n".join(lines) + "\n"
