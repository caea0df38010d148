"""What the flags ask of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tianlu_registry.audit.files import STANDARD_OUTPUT, RotatingFile, Sink, StandardOutput
from tianlu_registry.errors import InvalidArgument

BYTES_MIN: Final = 64 * 1024
BYTES_MAX: Final = 1 << 40
FILES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """Where lines go.

    Attributes:
        path: of a file; "-" for standard output; empty for no audit log.
        bytes_max: size of a file at which another is begun, 64 KiB to 1 TiB. Default 100 MiB.
        files: how many there may be, this one included, 1 to 1,000. Default 10.
        strict: see `audit.log`.
    """

    path: str = ""
    bytes_max: int = 100 * 1024 * 1024
    files: int = 10
    strict: bool = False

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidArgument: names the first one that cannot be.
        """
        if not BYTES_MIN <= self.bytes_max <= BYTES_MAX:
            raise InvalidArgument(
                "audit_log_max_bytes", f"is {self.bytes_max}; give {BYTES_MIN} to {BYTES_MAX}"
            )
        if not 1 <= self.files <= FILES_MAX:
            raise InvalidArgument("audit_log_files", f"is {self.files}; give 1 to {FILES_MAX}")
        if self.strict and not self.path:
            raise InvalidArgument("audit_log_strict", "needs --audit-log")

    def sink(self) -> Sink:
        """Return what to write to."""
        if self.path == STANDARD_OUTPUT:
            return StandardOutput()
        return RotatingFile(Path(self.path), self.bytes_max, self.files - 1)
