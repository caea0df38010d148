"""Keeps a client's session and registrations alive: the shell around `tianlu._session`.

One task per client runs the session. It holds one renewal stream, always with a read under way, so
that a break is noticed when it happens and the stream is reopened at once, on the next endpoint;
the registry's grace before it calls the instances suspect is short.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final, TypeAlias

from tianlu._channel import Connection
from tianlu._endpoint import Endpoint
from tianlu._errors import InvalidInput, NotAllowed, NotFound, TianluError, Unavailable
from tianlu._model import Instance
from tianlu._proto.v1 import catalog_pb2
from tianlu._registration import AsyncRegistration
from tianlu._removal import Removals
from tianlu._retry import STREAM_WAIT, Deadline, draw
from tianlu._rpc import CLOSE_SESSION, KEEP_ALIVE, OPEN_SESSION
from tianlu._session import Event, Session, State, Step
from tianlu._stream import Stream

_log: Final = logging.getLogger(__name__)

_Renewals: TypeAlias = Stream[catalog_pb2.KeepAliveRequest, catalog_pb2.KeepAliveResponse]


class Registrar:
    """A client's session and what is registered under it. Belongs to one event loop.

    Args:
        name: who this is, for people.
        ttl_seconds: the session's time to live to ask for.
    """

    def __init__(self, connection: Connection, *, name: str, ttl_seconds: int) -> None:
        self._connection = connection
        self._name = name
        self._ttl_seconds = ttl_seconds
        self._session = Session()
        self._registrations: list[AsyncRegistration] = []
        self._removals = Removals(connection, lambda: self.session_id)
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._trouble: TianluError | None = None

    @property
    def session_id(self) -> int:
        return self._session.session_id

    @property
    def state(self) -> State:
        return self._session.state

    @property
    def registrations(self) -> tuple[AsyncRegistration, ...]:
        return tuple(self._registrations)

    async def register(self, instance: Instance, deadline: Deadline) -> AsyncRegistration:
        """Register an instance and keep it registered.

        Raises:
            TianluError: it could not be registered; it is then not kept either.
        """
        await self._removals.made(instance.namespace, instance.service, instance.id, deadline)
        registration = AsyncRegistration(self, self._connection, instance)
        try:
            await registration.put(deadline)
        except (Unavailable, asyncio.CancelledError):
            # It may have been done all the same.
            if not any(one.is_same_as(registration) for one in self._registrations):
                self.remove_later(registration.removal(self.session_id))
            raise
        self._registrations.append(registration)
        return registration

    def remove_later(self, request: catalog_pb2.DeregisterRequest) -> None:
        """Make a deregistration as soon as a registry takes it, unless the session ends before."""
        if request.session_id:
            self._removals.add(request)

    def forget(self, registration: AsyncRegistration) -> None:
        """Stop keeping a registration."""
        if registration in self._registrations:
            self._registrations.remove(registration)

    async def held_session(self, deadline: Deadline) -> int:
        """Return the id of a session whose stream is up, opening one if need be.

        Raises:
            TianluError: what keeps it from being up, once the deadline has passed, or at once if
                trying again cannot help.
        """
        if self._task is None:
            self._session.handle(Event.NEEDED)
            self._task = asyncio.create_task(self._run(), name="tianlu session")

        def settled() -> bool:
            return self.state is State.HELD or _cannot_pass(self._trouble)

        async with self._changed:
            try:
                async with asyncio.timeout(deadline.remaining()):
                    await self._changed.wait_for(settled)
            except TimeoutError:
                raise self._trouble or Unavailable("no session with the registry") from None
        if self.state is not State.HELD and self._trouble is not None:
            raise self._trouble
        return self.session_id

    async def close(self, deadline: Deadline) -> None:
        """End the session, which removes everything registered under it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._registrations.clear()
        await self._removals.close()
        if not self._session.handle(Event.CLOSE).actions:
            return
        request = catalog_pb2.CloseSessionRequest(session_id=self.session_id)
        try:
            await self._connection.call(CLOSE_SESSION, request, deadline=deadline)
        except NotFound:
            pass  # It had ended already.
        except TianluError as error:
            _log.warning("session.end_failed session=%x error=%s", self.session_id, error)

    async def _run(self) -> None:
        """Drive the session until cancelled."""
        step = Step(())
        while True:
            await asyncio.sleep(step.wait_seconds)
            try:
                step = await (self._open() if self.state is State.OPENING else self._hold())
            except Exception:  # noqa: BLE001 -- the session's supervisor
                # Ended silently, the session would run out and everything registered go with it.
                _log.exception("session.failed session=%x", self.session_id)
                opening = self.state is State.OPENING
                event = Event.OPEN_FAILED if opening else Event.STREAM_BROKEN
                step = self._session.handle(event, draw())
            async with self._changed:
                self._changed.notify_all()

    async def _open(self) -> Step:
        request = catalog_pb2.OpenSessionRequest(ttl_seconds=self._ttl_seconds, client=self._name)
        try:
            response = await self._connection.call(OPEN_SESSION, request)
        except TianluError as error:
            self._note(error, "open_failed")
            return self._session.handle(Event.OPEN_FAILED, draw())
        _log.info("session.opened session=%x ttl=%d", response.session_id, response.ttl_seconds)
        return self._session.opened(response.session_id, response.ttl_seconds)

    async def _hold(self) -> Step:
        """Open the renewal stream and renew on it until it breaks or the session is lost."""
        try:
            stream: _Renewals = await self._connection.stream(KEEP_ALIVE)
        except TianluError as caught:
            self._note(caught, "stream_broken")
            return self._session.handle(Event.STREAM_BROKEN, draw())
        again: asyncio.Task[None] | None = None
        event = Event.LOST
        error: TianluError | None = None
        try:
            async for first in self._renewals(stream):
                if first:
                    again = asyncio.create_task(self._register_all(), name="tianlu register")
        except NotFound:
            pass
        except TianluError as caught:
            event, error = Event.STREAM_BROKEN, caught
        finally:
            stream.cancel()
            if again is not None:
                again.cancel()
                await asyncio.gather(again, return_exceptions=True)
        if event is Event.LOST:
            _log.warning("session.lost session=%x", self.session_id)
        elif error is not None:
            self._connection.turn_from(stream.endpoint)
            self._note(error, "stream_broken")
        return self._session.handle(event, draw())

    async def _renewals(self, stream: _Renewals) -> AsyncIterator[bool]:
        """Renew at the session's pace. Yields after each answer, True after the first.

        Ends when the registry says that the session has ended.

        Raises:
            TianluError: the stream broke, or a renewal was not answered before the next was due.
        """
        loop = asyncio.get_running_loop()
        request = catalog_pb2.KeepAliveRequest(session_id=self.session_id)
        reading: asyncio.Task[catalog_pb2.KeepAliveResponse | None] | None = None
        try:
            while True:
                await stream.write(request)
                due = loop.time() + self._session.renew_seconds
                answered = False
                while loop.time() < due:
                    reading = reading or asyncio.create_task(stream.read())
                    await asyncio.wait({reading}, timeout=due - loop.time())
                    if not reading.done():
                        continue
                    response, reading = reading.result(), None
                    if response is None:
                        raise Unavailable(f"registry at {stream.endpoint}: ended the renewals")
                    if response.ttl_seconds == 0:
                        return
                    answered = True
                    yield await self._stream_up(stream.endpoint)
                if not answered:
                    raise Unavailable(f"registry at {stream.endpoint}: a renewal went unanswered")
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _stream_up(self, endpoint: Endpoint) -> bool:
        """Note an answered renewal. Returns whether it was the stream's first."""
        if self.state is State.HELD:
            return False
        self._session.handle(Event.STREAM_UP)
        self._connection.served(endpoint)
        self._trouble = None
        _log.info("session.held session=%x endpoint=%s", self.session_id, endpoint)
        async with self._changed:
            self._changed.notify_all()
        return True

    async def _register_all(self) -> None:
        """Register what is not registered under the present session, until all of it is."""
        attempt = 0
        while True:
            missing = [one for one in self._registrations if one.session_id != self.session_id]
            for registration in missing:
                try:
                    await registration.put(Deadline.after(self._session.ttl_seconds))
                except TianluError as error:
                    _log.warning(
                        "instance.register_again_failed instance=%s error=%s",
                        registration.instance.id,
                        error,
                    )
                except Exception:  # noqa: BLE001 -- one must not keep the others from theirs
                    _log.exception(
                        "instance.register_again_failed instance=%s", registration.instance.id
                    )
            if all(one.session_id == self.session_id for one in self._registrations):
                return
            attempt += 1
            await asyncio.sleep(STREAM_WAIT.seconds(attempt + 1, draw()))

    def _note(self, error: TianluError, event: str) -> None:
        # Once per outage, not per attempt.
        if self._trouble is None:
            _log.warning("session.%s session=%x error=%s", event, self.session_id, error)
        self._trouble = error


def _cannot_pass(trouble: TianluError | None) -> bool:
    return isinstance(trouble, InvalidInput | NotAllowed) and not trouble.retryable
