"""Go through every page of docs/operations as an operator would, on three pretended hosts.

    cd tests && python -m operations

Takes two minutes on a quiet machine. Between the pages the things happen that they are for: a host
dies, then two.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from operations.pages import Hosts, PageFailed, blocks_of

COURSE: tuple[str | tuple[int, ...], ...] = (
    "three-hosts",
    "doctor",
    "upgrade",
    (3,),
    "replace-a-member",
    "full-disk",
    (2, 3),
    "disaster-recovery",
    "client-tls",
    "authentication",
)
"""Pages, and the hosts that lose their power between them."""


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="tianlu-hosts-") as directory,
        Hosts(Path(directory)) as hosts,
    ):
        try:
            _go_through(hosts)
        except PageFailed as error:
            print(f"FAILED {error}", file=sys.stderr)
            return 1
    return 0


def _go_through(hosts: Hosts) -> None:
    for step in COURSE:
        if isinstance(step, str):
            for block in blocks_of(step):
                started = time.monotonic()
                seen = hosts.run(block)
                print(f"\n=== {step}, {block.place}: {time.monotonic() - started:.1f} s\n{seen}")
        else:
            for number in step:
                print(f"\n=== host {number} loses its power")
                hosts.kill(number)


if __name__ == "__main__":
    sys.exit(main())
