from __future__ import annotations

import asyncio

import pytest

from tianlu_registry.errors import NoLeader, RequestTimeout, Stopped, TooManyRequests
from tianlu_registry.node import reads
from tianlu_registry.node.reads import ReadQueue
from tianlu_registry.raft.types import Index, ReadState


class Core:
    """Notes requests; refuses them while `refusal` is set."""

    def __init__(self) -> None:
        self.contexts: list[int] = []
        self.refusal: Exception | None = None
        self.queue = ReadQueue(asyncio.get_running_loop(), request=self.request, timeout_seconds=7)

    def request(self, context: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.contexts.append(context)

    def confirm(self, context: int, index: int) -> None:
        self.queue.on_read_states((ReadState(Index(index), context),))


async def turn() -> None:
    await asyncio.sleep(0)


async def test_reads_of_one_turn_share_one_request() -> None:
    core = Core()
    waiters = [core.queue.wait() for _ in range(5)]
    await turn()
    assert len(core.contexts) == 1
    core.confirm(core.contexts[0], 0)
    assert all(waiter.done() for waiter in waiters)


async def test_reads_that_come_while_a_request_is_under_way_share_the_next() -> None:
    core = Core()
    first = core.queue.wait()
    await turn()
    later = [core.queue.wait()]
    await turn()
    later.append(core.queue.wait())
    await turn()
    assert len(core.contexts) == 1
    core.confirm(core.contexts[0], 0)
    assert first.done()
    assert not any(waiter.done() for waiter in later)
    await turn()
    core.confirm(core.contexts[1], 0)
    assert all(waiter.done() for waiter in later)


async def test_a_read_waits_for_the_state_machine() -> None:
    core = Core()
    waiter = core.queue.wait()
    await turn()
    core.confirm(core.contexts[0], 7)
    core.queue.on_applied(Index(6))
    assert not waiter.done()
    core.queue.on_applied(Index(7))
    assert waiter.done()


async def test_a_lost_request_is_made_again() -> None:
    core = Core()
    waiter = core.queue.wait()
    await turn()
    now = asyncio.get_running_loop().time()
    core.queue.retry(now + 0.1)
    assert len(core.contexts) == 1
    core.queue.retry(now + 0.6)
    core.queue.retry(now + 0.6, leader_changed=True)
    assert len(core.contexts) == 3
    core.confirm(core.contexts[1], 0)  # a late answer to an earlier asking is as good
    assert waiter.done()


async def test_reads_wait_for_a_leader() -> None:
    core = Core()
    core.refusal = NoLeader()
    waiter = core.queue.wait()
    await turn()
    assert not waiter.done()
    core.refusal = None
    core.queue.retry(asyncio.get_running_loop().time(), leader_changed=True)
    core.confirm(core.contexts[0], 0)
    assert waiter.done()


async def test_a_read_without_an_answer_times_out_and_does_not_hold_up_the_next() -> None:
    core = Core()
    now = asyncio.get_running_loop().time()
    lost = core.queue.wait()
    await turn()
    core.queue.expire(now + 7.5)
    with pytest.raises(RequestTimeout):
        await lost
    kept = core.queue.wait()
    await turn()
    core.confirm(core.contexts[0], 0)
    assert not kept.done(), "the answer is older than the read"
    core.confirm(core.contexts[1], 0)
    assert kept.done()


async def test_reads_that_only_gathered_time_out_too() -> None:
    core = Core()
    core.queue.wait()
    await turn()
    gathering = core.queue.wait()
    core.queue.expire(asyncio.get_running_loop().time() + 8)
    with pytest.raises(RequestTimeout):
        await gathering


async def test_a_refused_request_fails_its_reads() -> None:
    core = Core()
    core.refusal = TooManyRequests()
    waiter = core.queue.wait()
    await turn()
    with pytest.raises(TooManyRequests):
        await waiter


async def test_a_cancelled_read_is_harmless() -> None:
    core = Core()
    cancelled, kept = core.queue.wait(), core.queue.wait()
    cancelled.cancel()
    await turn()
    core.confirm(core.contexts[0], 0)
    assert kept.done()


async def test_stopping_fails_all() -> None:
    core = Core()
    asked = core.queue.wait()
    await turn()
    gathering = core.queue.wait()
    core.queue.fail_all(Stopped)
    await turn()
    for waiter in (asked, gathering):
        with pytest.raises(Stopped):
            await waiter


async def test_at_the_maximum_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "READS_WAITING_MAX", 2)
    core = Core()
    core.queue.wait()
    core.queue.wait()
    with pytest.raises(TooManyRequests):
        core.queue.wait()
    await turn()
    core.confirm(core.contexts[0], 0)
    core.queue.wait()
