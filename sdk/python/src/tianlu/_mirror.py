"""A whole catalogue, or some namespaces of it, held in memory and kept current by a watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from tianlu._view import CatalogView


class AsyncMirror:
    """A local copy of the catalogue; made by `AsyncClient.mirror`.

    Entering it returns once a first view is there: from the registry, or from the host snapshot if
    no registry answers within the client's timeout (the watch is then taken up in the background).
    """

    async def __aenter__(self) -> Self:
        """Fill the mirror.

        Raises:
            Unavailable: no registry answers in time and there is no host snapshot.
        """
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watch and write the last view to the host snapshot."""
        raise NotImplementedError

    @property
    def view(self) -> CatalogView:
        """The newest view. No I/O."""
        raise NotImplementedError

    @property
    def degraded(self) -> str:
        """Why the view may be stale; "" if it is not."""
        raise NotImplementedError

    def changes(self) -> AsyncIterator[CatalogView]:
        """Yield the newest view now and after every change, leaving out ones in between.

        A slow reader misses intermediate views and never the newest. A view is also yielded when
        the mirror enters or leaves degraded mode.
        """
        raise NotImplementedError

    async def applied(self, revision: int) -> None:
        """Tell the registry that everything up to `revision` is in effect here.

        `AsyncClient.await_applied` waits for this. Does nothing while the watch is down.
        """
        raise NotImplementedError
