"""How many things (calls, watches) a client has open at once, and whether it may open another.

The table needs no bound of its own: it holds a client only while something of it is open, and that
is bounded by connections and their streams.
"""

from __future__ import annotations

from tianlu_registry.errors import InvalidArgument


class Concurrency:
    """Counts what clients have open.

    Args:
        per_client_max: what each may have open at once, at least 1.

    Raises:
        InvalidArgument: it cannot be.
    """

    def __init__(self, per_client_max: int) -> None:
        if per_client_max < 1:
            raise InvalidArgument("per_client_max", f"is {per_client_max}, it must be at least 1")
        self._per_client_max = per_client_max
        self._open: dict[str, int] = {}

    def __len__(self) -> int:
        """How many clients have something open."""
        return len(self._open)

    def open_of(self, client: str) -> int:
        return self._open.get(client, 0)

    def open(self, client: str) -> bool:
        """Open one more, to be closed by `close`; returns whether the client may."""
        count = self._open.get(client, 0)
        if count >= self._per_client_max:
            return False
        self._open[client] = count + 1
        return True

    def close(self, client: str) -> None:
        """One that was opened is closed."""
        count = self._open[client] - 1
        if count:
            self._open[client] = count
        else:
            del self._open[client]
