"""Python's cycle collector, set up for a server with a large index in memory.

Left alone it looks at every tracked object again and again: a full collection stops the node for
70 ms for every 200,000 keys of several revisions, and under load the collector takes a twentieth
of the CPU. But requests make hardly a cycle, and what is old (the index, open streams) is freed by
reference counts. So only what is new is ever looked at, a little at a time, and what survives
that is taken out of the collector's sight.

The price: a cycle that is in use during a collection and dropped later is never freed. What lives
long must therefore break its cycles when it ends; tests hold the watch streams to it.
"""

from __future__ import annotations

import gc
from typing import Any, Final

YOUNG_OBJECTS_MAX: Final = 10_000
"""So many new objects more than freed ones start a collection: about a millisecond."""

_OLDER_NEVER: Final = 1_000_000  # freezing leaves the older generations empty


def set_up_collector() -> None:
    """Collect what starting has left, and from now on only look at what is new.

    Call it once, when the process has loaded what it keeps.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, _OLDER_NEVER, _OLDER_NEVER)
    gc.callbacks.append(freeze_survivors)


def freeze_survivors(phase: str, _info: dict[str, Any]) -> None:
    """Take what a collection has left out of the collector's sight; moves one list, looks at
    nothing."""
    if phase == "stop":
        gc.freeze()
