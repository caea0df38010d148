"""Servicers whose changing methods leave a line each.

The wrapper stands outside of the guard, so that who is refused leaves a line too, and at the
servicers, which gRPC and JSON share. Methods that only read are the servicer's own, unwrapped.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import wraps
from inspect import isasyncgenfunction
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import ServiceDescriptor

from tianlu_registry.audit.actors import Actors
from tianlu_registry.audit.entries import Actor, Lines
from tianlu_registry.audit.log import AuditLog
from tianlu_registry.audit.touched import SOMETIMES_READ, WRITES, Touched, revision_of

ServicerT = TypeVar("ServicerT")


def audited(auditor: Auditor | None, service: ServiceDescriptor, servicer: ServicerT) -> ServicerT:
    """Return a servicer that leaves lines; the servicer itself if none are wanted."""
    return servicer if auditor is None else auditor.audited(service, servicer)


class Auditor:
    """Wraps servicers.

    Args:
        log: takes the lines.
        lines: makes them.
        actors: knows who calls.
    """

    def __init__(self, log: AuditLog, lines: Lines, actors: Actors) -> None:
        self._log = log
        self._lines = lines
        self._actors = actors

    def audited(self, service: ServiceDescriptor, servicer: ServicerT) -> ServicerT:
        """Return a servicer whose methods in `WRITES` leave lines."""
        return cast("ServicerT", _Audited(self, service.full_name, servicer))

    def method(self, name: str, touched: Touched, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that leaves a line, in the same form: coroutine or generator."""
        if isasyncgenfunction(method):
            return self._stream(name, touched, method)

        may_read = name in SOMETIMES_READ

        @wraps(method)
        async def call(request: Any, *arguments: Any) -> Any:  # noqa: ANN401 - any method's
            if may_read and touched(request, None) is None:
                return await method(request, *arguments)
            self._log.admit()
            actor = self._actors.current()
            try:
                response = await method(request, *arguments)
            except BaseException as error:
                self._failed(name, actor, touched, request, error)
                raise
            await self._applied(name, actor, touched, request, response)
            return response

        return call

    def _stream(
        self, name: str, touched: Touched, method: Callable[..., Any]
    ) -> Callable[..., Any]:
        @wraps(method)
        async def stream(request: Any, *arguments: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401
            self._log.admit()
            actor = self._actors.current()
            try:
                async with aclosing(method(request, *arguments)) as responses:
                    async for response in responses:
                        yield response
            except BaseException as error:
                self._failed(name, actor, touched, request, error)
                raise
            await self._applied(name, actor, touched, request, None)

        return stream

    async def _applied(
        self,
        name: str,
        actor: Actor,
        touched: Touched,
        request: Any,  # noqa: ANN401
        response: Any,  # noqa: ANN401
    ) -> None:
        fields = touched(request, response)
        if fields is None:
            return
        who = self._actors.current_after(actor)
        line = self._lines.applied(name, who, fields, revision_of(response))
        if self._log.strict:
            await self._log.write_synced(line)
        else:
            self._log.write(line)

    def _failed(
        self,
        name: str,
        actor: Actor,
        touched: Touched,
        request: Any,  # noqa: ANN401
        error: BaseException,
    ) -> None:
        """Nobody waits for the line of a call that has failed, not even strictly."""
        who = self._actors.current_after(actor)
        self._log.write(self._lines.failed(name, who, touched(request, None) or {}, error))


class _Audited:
    """A servicer; its methods are made when they are asked for."""

    def __init__(self, auditor: Auditor, service: str, servicer: object) -> None:
        self._auditor = auditor
        self._service = service
        self._servicer = servicer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the servicer has
        found = getattr(self._servicer, name)
        method = f"{self._service}/{name}"
        touched = WRITES.get(method)
        if touched is not None:
            found = self._auditor.method(method, touched, found)
        setattr(self, name, found)
        return found
