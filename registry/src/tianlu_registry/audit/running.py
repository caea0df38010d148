"""The audit log of a running node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tianlu_registry.audit.actors import Actors
from tianlu_registry.audit.audited import Auditor
from tianlu_registry.audit.entries import Lines
from tianlu_registry.audit.log import AuditLog
from tianlu_registry.audit.metrics import AuditCollector
from tianlu_registry.audit.options import AuditOptions
from tianlu_registry.authn.guard import Guard


class Auditing:
    """The log, and what hangs on it.

    Attributes:
        auditor: wraps servicers.
        collector: for /metrics.
    """

    def __init__(self, log: AuditLog, auditor: Auditor) -> None:
        self.auditor = auditor
        self.collector = AuditCollector(log)


@contextmanager
def auditing(
    options: AuditOptions, node: str, guard: Guard | None, *, client_certificates: bool
) -> Iterator[Auditing | None]:
    """Write lines until the end of the context; None if none are wanted.

    Args:
        node: this node's name.
        guard: knows who calls; None if the node has no users of its own.
        client_certificates: whether the listener has verified them.
    """
    if not options.path:
        yield None
        return
    lines = Lines(node)
    log = AuditLog(options.sink(), lines.lost, strict=options.strict)
    log.start()
    # If it cannot be written, strict mode knows before the first change.
    log.write(lines.started())
    try:
        actors = Actors(guard, client_certificates=client_certificates)
        yield Auditing(log, Auditor(log, lines, actors))
    finally:
        log.close()
