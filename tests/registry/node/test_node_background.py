from __future__ import annotations

import asyncio
from itertools import pairwise

from tianlu_registry.node.background import Pump


def _unexpected(error: Exception) -> None:
    raise AssertionError from error


async def test_steps_leave_room_for_others_between_them() -> None:
    loop = asyncio.get_running_loop()
    order: list[str] = []

    def step() -> bool:
        order.append("step")
        loop.call_soon(order.append, "other")
        return len(order) < 5

    pump = Pump(loop, step, on_failed=_unexpected)
    pump.poke()
    pump.poke()
    while pump.is_running:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["step", "other", "step", "other", "step", "other"]


async def test_stopped_for_good() -> None:
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return True

    pump = Pump(asyncio.get_running_loop(), step, on_failed=_unexpected)
    pump.poke()
    pump.stop()
    pump.poke()
    await asyncio.sleep(0)
    assert (steps, pump.is_running) == (0, False)


async def test_a_step_that_fails_is_the_last() -> None:
    failures: list[Exception] = []

    def step() -> bool:
        raise OSError("disk gone")

    pump = Pump(asyncio.get_running_loop(), step, on_failed=failures.append)
    pump.poke()
    await asyncio.sleep(0)
    pump.poke()
    assert not pump.is_running
    assert [str(error) for error in failures] == ["disk gone"]


async def test_a_rest_between_two_steps() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def step() -> bool:
        times.append(loop.time())
        return len(times) < 3

    pump = Pump(loop, step, on_failed=_unexpected, rest_seconds=0.01)
    pump.poke()
    while pump.is_running:
        pump.poke()  # hurries nothing
        await asyncio.sleep(0)
    assert len(times) == 3
    assert all(later - earlier >= 0.009 for earlier, later in pairwise(times))


async def test_stopped_by_its_own_step() -> None:
    pump = Pump(
        asyncio.get_running_loop(), lambda: bool(pump.stop()) or True, on_failed=_unexpected
    )
    pump.poke()
    await asyncio.sleep(0)
    assert not pump.is_running
