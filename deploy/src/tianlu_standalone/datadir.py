"""The data directory of `tianlu up`: layout, ownership and the lock that keeps a second one out.

DATA_DIR/lock        held by flock while `tianlu up` runs; says who holds it
DATA_DIR/run.json    addresses and process ids of all parts, while they run
DATA_DIR/parts/      one directory a part, for what it keeps
DATA_DIR/snapshot/   the host snapshot that gateway and mesher start from
DATA_DIR/logs/       one file a part, bounded
run/                 sockets and run files; elsewhere if DATA_DIR's path is too long for a socket
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOCKET_PATH_BYTES_MAX = 107
"""Source: sun_path in unix(7) is 108 bytes with its terminator."""

_LONGEST_SOCKET_NAME = "registry-admin.sock.lock"


class StartError(Exception):
    """`tianlu up` cannot start; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory that this process holds. `close` gives it up.

    Attributes:
        root: the directory itself, absolute.
        run: where sockets and run files go; private to this user.
    """

    root: Path
    run: Path
    _lock_descriptor: int

    @classmethod
    def open(cls, root: Path) -> DataDir:
        """Make the directory if need be and take its lock.

        Raises:
            StartError: it cannot be made or written, or another process holds it.
        """
        root = root.absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(f"cannot use data directory {root}: {_reason(error)}") from error
        try:
            _take_lock(descriptor, root)
            for name in ("parts", "logs", "snapshot"):
                (root / name).mkdir(mode=0o700, exist_ok=True)
            return cls(root, _socket_directory(root), descriptor)
        except OSError as error:
            os.close(descriptor)
            raise StartError(f"cannot use data directory {root}: {_reason(error)}") from error
        except StartError:
            os.close(descriptor)
            raise

    @property
    def run_file(self) -> Path:
        """Where the addresses of all parts stand while they run."""
        return self.root / "run.json"

    def part(self, name: str) -> Path:
        """Return a part's own directory."""
        return self.root / "parts" / name

    def socket(self, name: str) -> Path:
        """Return the path of a part's unix socket."""
        return self.run / f"{name}.sock"

    def write_run(self, content: dict[str, Any]) -> None:
        """Replace run.json at once; readers see the old or the new text, never half of one."""
        temporary = self.run_file.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        temporary.replace(self.run_file)

    def close(self) -> None:
        """Remove run.json and give up the lock."""
        self.run_file.unlink(missing_ok=True)
        os.close(self._lock_descriptor)


def read_run(root: Path) -> dict[str, Any]:
    """Return the content of a running platform's run.json.

    Raises:
        StartError: nothing runs on that directory.
    """
    try:
        content: dict[str, Any] = json.loads((root / "run.json").read_text())
    except FileNotFoundError:
        raise StartError(
            f"nothing runs on {root.absolute()}; start it with `tianlu up --data-dir {root}`"
        ) from None
    except (OSError, ValueError) as error:
        raise StartError(f"cannot read {root / 'run.json'}: {error}") from error
    return content


def _take_lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        raise StartError(
            f"data directory {root} is held by {holder}; stop that one or choose another --data-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} (tianlu up)\n".encode(), 0)


def _socket_directory(root: Path) -> Path:
    run = root / "run"
    if len(os.fsencode(run / _LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
        run.mkdir(mode=0o700, exist_ok=True)
        return run
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    run = Path(tempfile.gettempdir()) / f"tianlu-{os.getuid()}-{digest}"
    run.mkdir(mode=0o700, exist_ok=True)
    # The name can be guessed, so somebody else may have made it first: trust only what is ours
    # alone.
    found = run.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StartError(f"{run} belongs to somebody else; choose a shorter --data-dir")
    return run


def _reason(error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "it is not writable for this user"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full"
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return "a file stands where the directory should be"
    return error.strerror or str(error)
