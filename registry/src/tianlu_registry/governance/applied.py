"""Waiting until subscribers have put a revision into effect."""

from __future__ import annotations

import asyncio
import math

from tianlu._proto.v1.catalog_pb2 import AwaitAppliedRequest, AwaitAppliedResponse
from tianlu_registry.catalog import validate
from tianlu_registry.errors import InvalidArgument
from tianlu_registry.governance.subscriptions import Subscriptions

LAGGARDS_MAX = 100
TIMEOUT_MS_DEFAULT = 5_000
TIMEOUT_MS_MAX = 60_000


async def await_applied(
    subscriptions: Subscriptions, request: AwaitAppliedRequest
) -> AwaitAppliedResponse:
    """Answer when the asked share of a service's subscribers has applied a revision, or when
    time is up.

    Only subscribers of this node count, and only those that have ever acknowledged anything: a
    console that looks on, or a JSON stream, applies nothing and would be waited for in vain.
    With no such subscriber the share is reached at once.

    Raises:
        InvalidArgument: a percentage or a time beyond its limits, or a malformed name.
    """
    validate.namespace("namespace", request.namespace)
    validate.service_name("service", request.service)
    if request.percent > 100:
        raise InvalidArgument("percent", f"{request.percent} is not within 1 to 100")
    if request.timeout_ms > TIMEOUT_MS_MAX:
        raise InvalidArgument("timeout_ms", f"must be at most {TIMEOUT_MS_MAX}")
    try:
        async with asyncio.timeout((request.timeout_ms or TIMEOUT_MS_DEFAULT) / 1000):
            while not (response := _count(subscriptions, request)).reached:
                await subscriptions.wait_acknowledgement()
    except TimeoutError:
        response = _count(subscriptions, request)
    return response


def _count(subscriptions: Subscriptions, request: AwaitAppliedRequest) -> AwaitAppliedResponse:
    counted = [
        subscription
        for subscription in subscriptions.matching(request.namespace, request.service)
        if subscription.applied_revision > 0
    ]
    behind = [s for s in counted if s.applied_revision < request.revision]
    applied = len(counted) - len(behind)
    needed = math.ceil(len(counted) * (request.percent or 100) / 100)
    return AwaitAppliedResponse(
        reached=applied >= needed,
        subscribers=len(counted),
        applied=applied,
        laggards=[subscription.label for subscription in behind[:LAGGARDS_MAX]],
    )
