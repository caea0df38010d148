"""Runs the commands of docs/operations as they are written, on three pretended hosts.

A page's ``sh`` blocks are run where their first line says: ``# on your own machine``, ``# on host
2``, ``# on every host``; what one exports, the next ones in that place have. The ``text`` block
that follows says what must have been seen: its lines in order, where ``…`` stands for anything.
``console`` blocks are not run: they fetch a release, or need a value from what was printed.

A host is a directory and a loopback address. Paths and addresses of the pages are replaced by
those; `shims` holds what stands for systemctl, scp and the like. The unit file is the real one: its
ExecStart and EnvironmentFile are what is started.

`doctor`'s warnings (a slow disk, status 1) are this machine's, not the page's: where a page shows
"healthy", anything better than "unhealthy" passes.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

REPOSITORY: Final = Path(__file__).parents[2]
PAGES: Final = REPOSITORY / "docs" / "operations"
SHIMS: Final = Path(__file__).parent / "shims"
HOSTS: Final = (1, 2, 3)
BLOCK_SECONDS_MAX: Final = 200.0

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DOCTOR: Final = re.compile(r"^(tianlu cluster doctor)$", re.MULTILINE)
_HOST_PATHS: Final = ("/etc/tianlu", "/etc/systemd/system", "/var/lib/tianlu")


@dataclass(frozen=True)
class Block:
    """A block of commands.

    Attributes:
        place: what its first line says: where it is to be typed.
        script: the whole block.
        expected: what must be seen afterwards; empty if the page does not say.
    """

    page: str
    place: str
    script: str
    expected: str

    @property
    def exports(self) -> str:
        """What the block leaves in its shell for the next ones in the same place."""
        lines = self.script.splitlines(keepends=True)
        return "".join(line for line in lines if line.startswith("export "))


class PageFailed(Exception):
    """What is written does not do what is written."""


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page that are to be run, in order."""
    found: list[Block] = []
    for kind, body in _FENCE.findall((PAGES / f"{page}.md").read_text()):
        if kind == "sh":
            place = body.splitlines()[0].removeprefix("# ")
            exported = "".join(b.exports for b in found if b.place == place)
            found.append(Block(page, place, exported + body, ""))
        elif kind == "text" and found:
            last = found[-1]
            found[-1] = Block(last.page, last.place, last.script, last.expected + body)
    return found


class Hosts:
    """Three hosts and one's own machine, in one directory. Use as a context manager: what runs on
    them ends with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # An address block of our own, so that the pages' ports are free whoever else runs.
        pid = os.getpid()
        self.network = f"127.{100 + pid % 100}.{pid // 100 % 256}."

    def __enter__(self) -> Self:
        for number in (0, *HOSTS):
            for path in (*_HOST_PATHS, "/root"):
                (self.root(number) / path[1:]).mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in HOSTS:
            self.kill(number)

    def root(self, number: int) -> Path:
        """Return the root directory of a host; 0 is one's own machine."""
        return self.directory / f"host{number}"

    def log(self, number: int) -> str:
        path = self.root(number) / "registry.log"
        return path.read_text() if path.exists() else ""

    def kill(self, number: int) -> None:
        """End a host's member at once, as a power failure would."""
        pid_file = self.root(number) / "registry.pid"
        if pid_file.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
            pid_file.unlink()

    def run_page(self, page: str, *, blocks: slice = slice(None)) -> None:
        """Type what a page says, and see what it shows.

        Raises:
            PageFailed: a command failed, or something else was seen.
        """
        for block in blocks_of(page)[blocks]:
            self.run(block)

    def run(self, block: Block) -> str:
        """Run one block where it belongs, and check what was seen."""
        if block.place.startswith("on every host"):
            seen = "".join(self._type(block, number) for number in HOSTS)
        elif match := re.match(r"on host (\d)", block.place):
            seen = self._type(block, int(match[1]))
        else:
            seen = self._type(block, 0)
        missing = first_missing(block.expected, seen)
        if missing is not None:
            raise PageFailed(
                f"{block.page}: {block.script}\nshould show {missing!r}, shows\n{seen}"
            )
        return seen

    def _type(self, block: Block, number: int) -> str:
        script = self._translated(block.script, number)
        environment = {
            **{name: value for name, value in os.environ.items() if "TIANLU" not in name},
            "PATH": f"{SHIMS}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOSTS": str(self.directory),
            "NETWORK": self.network,
            "ROOT": str(self.root(number)),
            "REPOSITORY": str(REPOSITORY),
            **({"N": str(number)} if number else {}),
        }
        try:
            done = subprocess.run(
                ["bash", "-eu", "-o", "pipefail", "-c", script],
                cwd=self.root(number) / "root",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=BLOCK_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired as error:
            raise self._failed(block, str(error.output or b"")) from error
        if done.returncode:
            raise self._failed(block, done.stdout)
        return done.stdout

    def _translated(self, text: str, number: int) -> str:
        for path in _HOST_PATHS:
            text = text.replace(path, f"{self.root(number)}{path}")
        text = text.replace("/opt/tianlu/.venv/bin/tianlu", "tianlu")
        text = text.replace("/opt/tianlu", str(REPOSITORY)).replace("10.0.0.", self.network)
        return _DOCTOR.sub(r"\1 || [ $? = 1 ]", text)

    def _failed(self, block: Block, output: str) -> PageFailed:
        logs = "\n".join(f"--- host {n}\n{self.log(n)[-2000:]}" for n in HOSTS)
        return PageFailed(f"{block.page}: {block.script}\nfailed:\n{output[-3000:]}\n{logs}")


def first_missing(expected: str, seen: str) -> str | None:
    """Return the first expected line that was not seen after those before it; None if all were."""
    rest = [" ".join(line.split()) for line in seen.splitlines()]
    for line in expected.splitlines():
        line = line.removeprefix("healthy:")
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("…"))
        matches = [position for position, found in enumerate(rest) if re.search(pattern, found)]
        if not matches:
            return line
        rest = rest[matches[0] + 1 :]
    return None
