"""Short ways to make catalogue messages and to wait for conditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tianlu._proto.v1.catalog_pb2 import RegisterRequest
from tianlu._proto.v1.model_pb2 import Instance, InstanceStatus, Port

UP = InstanceStatus.INSTANCE_STATUS_UP


def instance(namespace: str, service: str = "orders", id_: str = "orders-1", **more) -> Instance:
    made = Instance(
        namespace=namespace,
        service=service,
        id=id_,
        address="10.0.0.1",
        ports=[Port(name="http", number=8080, protocol="http")],
        status=UP,
    )
    for name, value in more.items():
        if name == "metadata":
            made.metadata.update(value)
        else:
            setattr(made, name, value)
    return made


def registration(session_id: int, namespace: str, id_: str = "orders-1", **more) -> RegisterRequest:
    return RegisterRequest(session_id=session_id, instance=instance(namespace, id_=id_, **more))


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)
