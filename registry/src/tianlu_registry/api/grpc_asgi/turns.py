"""A stream's messages, one after another, and everybody else's between them.

What has arrived in one piece can be very many messages, and none of them waits for anything:
without a pause nobody else would be served until the last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tianlu_registry.api.grpc_asgi.asgi import Scope

PACE: Final = "tianlu.pace"
"""Where the scope of a limited call has a function that counts a message and returns the seconds by
which it is to be put off."""

_MESSAGES_MAX: Final = 256
"""Messages after which others have their turn: a millisecond or two."""


class Turns:
    """Says when a stream is to pause. Ask `due` for each message, and if it is, `rest`.

    Args:
        scope: of the call.

    Attributes:
        is_put_off: the client's rate has put the last message off, and so it will the next ones.
    """

    __slots__ = ("_count", "_pace", "is_put_off")

    def __init__(self, scope: Scope) -> None:
        self._pace: Callable[[], float] | None = scope.get(PACE)
        self._count = 0
        self.is_put_off = False

    def due(self) -> bool:
        self._count += 1
        return self._pace is not None or self._count >= _MESSAGES_MAX

    async def rest(self) -> None:
        """Let others have their turn, or wait as long as the client's rate demands."""
        wait = 0.0 if self._pace is None else self._pace()
        self.is_put_off = wait > 0.0
        if wait or self._count >= _MESSAGES_MAX:
            self._count = 0
            await asyncio.sleep(wait)
