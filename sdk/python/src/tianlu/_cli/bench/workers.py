"""Worker processes: a load wants several interpreters, and none that also draws a progress bar.

The command starts them, waits until each is ready, lets all go at once, and looks at counters that
they share. A worker is told to stop through those counters too, so its loop asks for nothing that
costs more than a look into memory.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray
from typing import Any, Final, Protocol, Self

from tianlu._cli.bench.load import Tally
from tianlu._errors import InvalidInput, TianluError, Unavailable

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1
_DONE, _FAILED, _STOP = range(3)
_FIELDS: Final = 3


class Board:
    """Counters of all workers, in memory that they share; each writes its own."""

    def __init__(self, workers: int) -> None:
        self._values = RawArray(ctypes.c_int64, workers * _FIELDS)
        self.workers = workers

    def report(self, worker: int, done: int, failed: int) -> None:
        self._values[worker * _FIELDS + _DONE] = done
        self._values[worker * _FIELDS + _FAILED] = failed

    def done(self, workers: Sequence[int]) -> int:
        """How much these workers have done."""
        return sum(self._values[worker * _FIELDS + _DONE] for worker in workers)

    def ended(self, workers: Sequence[int]) -> int:
        """How much these workers have done or failed to do."""
        values = self._values
        return sum(
            values[worker * _FIELDS + _DONE] + values[worker * _FIELDS + _FAILED]
            for worker in workers
        )

    def stop(self, worker: int) -> None:
        self._values[worker * _FIELDS + _STOP] = 1

    def stopped(self, worker: int) -> bool:
        return bool(self._values[worker * _FIELDS + _STOP])


class Post:
    """A worker's place.

    Attributes:
        index: its number, from 0.
        board: the counters of all.
    """

    def __init__(self, index: int, board: Board, pipe: Pipe) -> None:
        self.index = index
        self.board = board
        self._pipe = pipe
        self._began = self._busy = 0.0

    def ready(self) -> int:
        """Say that all is prepared, wait for the others; return when it began (monotonic_ns)."""
        gc.freeze()
        gc.disable()  # its pauses would be taken for the server's
        self._pipe.send(None)
        began: int = self._pipe.recv()
        self._began, self._busy = time.monotonic(), time.process_time()
        return began

    def busy_share(self) -> float:
        """Which share of a processor this worker has used since it began."""
        return (time.process_time() - self._busy) / max(1e-9, time.monotonic() - self._began)

    def report(self, done: int, failed: int = 0) -> None:
        self.board.report(self.index, done, failed)

    def stopped(self) -> bool:
        """Whether to come to an end."""
        return self.board.stopped(self.index)


class Task(Protocol):
    """What one worker does; it is sent to another process."""

    def run(self, post: Post) -> Tally:
        """Prepare, call `post.ready` once, work, and return what became of it.

        Raises:
            TianluError: it cannot be done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker has done.

    Attributes:
        busy: the share of a processor that it used, 0 to 1.
    """

    tally: Tally
    busy: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error on its way: not all of them are made from their text alone, as pickle would."""

    kind: type[TianluError]
    text: str

    def error(self) -> TianluError:
        return InvalidInput("", self.text) if self.kind is InvalidInput else self.kind(self.text)


class Crew:
    """The workers of one phase. Use as a context manager: at its end none is left.

    Args:
        tasks: one for each.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.board = Board(len(tasks))
        self.shares: dict[int, Share] = {}
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Pipe] = []
        context = multiprocessing.get_context("spawn")
        for index, task in enumerate(tasks):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(task, index, self.board, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.join(0 if error[0] is not None else _END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._pipes:
            pipe.close()

    def begin(self) -> int:
        """Wait until all are ready, and let them go; return when (time.monotonic_ns).

        Raises:
            TianluError: one cannot do its task.
        """
        for index in range(len(self._pipes)):
            if not self._pipes[index].poll(_START_SECONDS):
                raise Unavailable("a worker process did not get ready in time")
            self._take(index)
        began = time.monotonic_ns()
        for pipe in self._pipes:
            pipe.send(began)
        return began

    def wait(self, workers: Sequence[int], look: Callable[[], None]) -> None:
        """Wait until these workers are done. Their shares are in `shares` then.

        Args:
            look: called about ten times a second.

        Raises:
            TianluError: what went wrong in one of them.
        """
        while missing := [index for index in workers if index not in self.shares]:
            ready = wait([self._pipes[index] for index in missing], _LOOK_SECONDS)
            for index in missing:
                if self._pipes[index] in ready:
                    self._take(index)
            look()

    def stop(self, workers: Sequence[int]) -> None:
        """Ask these workers to come to an end."""
        for index in workers:
            self.board.stop(index)

    @contextmanager
    def stopping_on_interrupt(self, workers: Sequence[int]) -> Iterator[Callable[[], bool]]:
        """Let the first Ctrl-C stop these workers and the second end everything.

        Yields:
            What says whether there was one.
        """
        interrupted = False

        def interrupt(number: int, frame: object) -> None:
            nonlocal interrupted
            if interrupted:
                raise KeyboardInterrupt
            interrupted = True
            self.stop(workers)

        previous = signal.signal(signal.SIGINT, interrupt)
        try:
            yield lambda: interrupted
        finally:
            signal.signal(signal.SIGINT, previous)

    def _take(self, index: int) -> None:
        """Take what a worker sends: that it is ready, its share, or an error."""
        try:
            received: Any = self._pipes[index].recv()
        except EOFError:
            raise Unavailable("a worker process ended without a result") from None
        if isinstance(received, _Failure):
            raise received.error()
        if isinstance(received, Share):
            self.shares[index] = received


def _work(task: Task, index: int, board: Board, pipe: Pipe) -> None:
    """Be a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what Ctrl-C means
    post = Post(index, board, pipe)
    try:
        tally = task.run(post)
        pipe.send(Share(tally, post.busy_share()))
    except TianluError as error:
        pipe.send(_Failure(type(error), str(error)))
    except (BrokenPipeError, EOFError, ConnectionError):
        return  # the command is gone, and with it all interest
