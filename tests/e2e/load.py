"""An even load of HTTP requests from a thread, that notes every failure with its time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx


@dataclass(slots=True)
class Outcome:
    at: float
    ok: bool
    what: str = ""


@dataclass
class EvenLoad:
    """Requests at `rate` a second with GET, until the block ends.

    Requests are sent on their schedule even while earlier ones wait (up to 50 at once), so a
    stall shows up as failures and not as a pause.
    """

    url: str
    rate: float = 50.0
    headers: dict[str, str] = field(default_factory=dict)
    proxy: str | None = None
    timeout: float = 5.0
    outcomes: list[Outcome] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._client = httpx.Client(
            proxy=self.proxy, timeout=self.timeout, trust_env=False, headers=self.headers
        )
        self._threads = [
            threading.Thread(target=self._worker, args=(number, 10), daemon=True)
            for number in range(10)
        ]
        self._begin = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self.timeout + 5)
        self._client.close()

    def _worker(self, number: int, workers: int) -> None:
        """Send every `workers`-th request of the schedule."""
        turn = number
        while not self._stop.is_set():
            wait = self._begin + turn / self.rate - time.monotonic()
            if wait > 0 and self._stop.wait(wait):
                return
            turn += workers
            sent = time.monotonic()
            try:
                answer = self._client.get(self.url)
                outcome = Outcome(
                    sent, answer.is_success, f"{answer.status_code} {answer.text[:80]}"
                )
            except httpx.HTTPError as error:
                outcome = Outcome(sent, ok=False, what=repr(error))
            self.outcomes.append(outcome)

    def failures(self, after: float = 0.0) -> list[Outcome]:
        """Return the failed requests that were sent after a moment (time.monotonic)."""
        return [outcome for outcome in self.outcomes if not outcome.ok and outcome.at >= after]
