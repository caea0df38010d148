"""A gentle load on the shop: RATE visits a second through the gateway.

It begins with the first visit that succeeds and ends on SIGTERM.

Usage: load.py ENTRANCE RATE, such as load.py http://127.0.0.1:8080 20
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time

import httpx

IN_FLIGHT_MAX = 50
REPORT_SECONDS = 10.0


class Load:
    """Visits at an even pace. When answers are late, visits are left out rather than piled up."""

    def __init__(self, entrance: str, rate: float) -> None:
        self._url = f"{entrance}/s/default/web/"
        self._interval = 1.0 / rate
        self._in_flight: set[asyncio.Task[None]] = set()
        self.done = self.failed = self.left_out = 0

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            await self._until_open(client)
            next_visit = next_report = time.monotonic()
            while True:
                now = time.monotonic()
                if now >= next_report:
                    print(f"visits={self.done} failed={self.failed} left_out={self.left_out}")
                    sys.stdout.flush()
                    next_report = now + REPORT_SECONDS
                if len(self._in_flight) >= IN_FLIGHT_MAX:
                    self.left_out += 1
                else:
                    task = asyncio.create_task(self._visit(client))
                    self._in_flight.add(task)
                    task.add_done_callback(self._in_flight.discard)
                next_visit = max(next_visit + self._interval, now)
                await asyncio.sleep(max(0.0, next_visit - time.monotonic()))

    async def _until_open(self, client: httpx.AsyncClient) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(self._url)).is_success:
                    return
            await asyncio.sleep(0.1)

    async def _visit(self, client: httpx.AsyncClient) -> None:
        try:
            answer = await client.get(self._url)
            ok = answer.is_success
        except httpx.HTTPError:
            ok = False
        self.done += 1
        self.failed += not ok


async def main(entrance: str, rate: float) -> None:
    task = asyncio.create_task(Load(entrance, rate).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
