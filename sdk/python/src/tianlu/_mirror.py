"""A whole catalogue, or some namespaces of it, held in memory and kept current by a watch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Self

from tianlu._follow import Scope
from tianlu._model import Rung
from tianlu._replica import Replica
from tianlu._retry import Deadline
from tianlu._view import CatalogView


class AsyncMirror:
    """A local copy of the catalogue; made by `AsyncClient.mirror`.

    Entering it returns once a first view is there: from the registry, or from the host snapshot if
    no registry answers (the watch is then taken up in the background).
    """

    def __init__(
        self, replica: Replica, namespaces: tuple[str, ...], deadline: Callable[[], Deadline]
    ) -> None:
        self._replica = replica
        self._namespaces = namespaces
        self._deadline = deadline

    async def __aenter__(self) -> Self:
        """Fill the mirror.

        Raises:
            InvalidInput: a namespace cannot be.
            Unavailable: no registry answers within the client's timeout and there is no host
                snapshot.
        """
        followers = [self._replica.follow(Scope(namespace)) for namespace in self._namespaces]
        try:
            await self._replica.filled(followers, self._deadline())
        except BaseException:
            await self._replica.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watch and write the last view to the host snapshot."""
        await self._replica.close()

    @property
    def view(self) -> CatalogView:
        """The newest view. No I/O; any thread."""
        replica = self._replica
        rung = max((one.cache.rung for one in replica.followers), default=Rung.PROCESS)
        return CatalogView(replica.revision, replica.services(), rung, replica.age_seconds)

    @property
    def degraded(self) -> str:
        """Why the view may be stale; "" if it is not."""
        return self._replica.degraded

    async def changes(self) -> AsyncGenerator[CatalogView, None]:
        """Yield the newest view now and after every change, leaving out ones in between.

        A slow reader misses intermediate views and never the newest. A view is also yielded when
        the mirror enters or leaves degraded mode.
        """
        while True:
            version = self._replica.version
            yield self.view
            await self._replica.next_version(version)

    async def applied(self, revision: int) -> None:
        """Tell the registry that everything up to `revision` is in effect here.

        `AsyncClient.await_applied` waits for this. Does nothing while the watch is down; call it
        again after the next change.
        """
        for follower in self._replica.followers:
            await follower.applied(revision)
