"""Flags of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tianlu_registry.audit.files import STANDARD_OUTPUT
from tianlu_registry.audit.options import AuditOptions
from tianlu_registry.server.preflight import check_writable


@dataclass(frozen=True, slots=True)
class AuditFlags:
    """Who changed what, for those who ask later."""

    panel: ClassVar[str] = "Audit log"

    audit_log: Annotated[
        str,
        "File that gets a line of JSON for each change made through this node; '-' for standard "
        "output. No such log if not given.",
    ] = ""
    audit_log_max_bytes: Annotated[int, "Size of a file at which another is begun."] = 100 * 1024**2
    audit_log_files: Annotated[int, "How many files are kept, this one included."] = 10
    audit_log_strict: Annotated[
        bool, "Answer no change before its line is on the disk, and begin none without the log."
    ] = False

    def options(self) -> AuditOptions:
        """Return what the node is told.

        Raises:
            CannotStart: the file cannot be made.
            InvalidArgument: names the flag that cannot be.
        """
        path = self.audit_log
        if path and path != STANDARD_OUTPUT:
            path = str(Path(path).absolute())
            check_writable("--audit-log", Path(path))
        return AuditOptions(
            path=path,
            bytes_max=self.audit_log_max_bytes,
            files=self.audit_log_files,
            strict=self.audit_log_strict,
        )
