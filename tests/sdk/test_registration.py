"""A registration whose session is lost while it is being deregistered, on a registry made of
answers.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tianlu._channel import Connection
from tianlu._errors import NotFound
from tianlu._model import Instance, Port
from tianlu._proto.v1 import catalog_pb2
from tianlu._registration import AsyncRegistration
from tianlu._retry import Deadline
from tianlu._rpc import DEREGISTER, REGISTER

INSTANCE = Instance("default", "orders", "a", "127.0.0.1", (Port("http", 1),))


class Registry:
    """Takes registrations; knows of no session any more when it is told to deregister."""

    def __init__(self) -> None:
        self.instances: list[str] = []
        self.deregistering = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def call(self, method: Any, request: Any, **_: Any) -> Any:
        if method is REGISTER:
            self.instances.append(request.instance.id)
            request.instance.session_id = request.session_id
            return catalog_pb2.RegisterResponse(instance=request.instance, revision=1)
        assert method is DEREGISTER
        self.deregistering.set()
        await self.may_answer.wait()
        self.instances.clear()
        raise NotFound("the session has ended")


class Holder:
    async def held_session(self, _deadline: Deadline) -> int:
        return 7

    def forget(self, _registration: AsyncRegistration) -> None: ...


@pytest.mark.parametrize("late", [False, True])
async def test_what_was_deregistered_is_not_registered_again(late: bool) -> None:
    """The keeper of the session registers everything anew, and got hold of this one before."""
    registry = Registry()
    registration = AsyncRegistration(Holder(), cast("Connection", registry), INSTANCE)
    await registration.put(Deadline.after(5))
    assert registry.instances == ["a"]
    leaving = asyncio.create_task(registration.deregister(0))
    await registry.deregistering.wait()
    if late:
        registry.may_answer.set()
        await leaving
    again = asyncio.create_task(registration.put(Deadline.after(5)))
    registry.may_answer.set()
    await asyncio.gather(leaving, again)
    assert registry.instances == []
    assert registration.session_id == 0
