"""The life of a client's session with the registry, as a state machine without I/O.

A session is one lease for all of a client's registrations. It is renewed over a stream; while the
stream is up the registry takes the instances for alive, when it breaks they turn suspect, and when
the time to live ends without a renewal they go.

    IDLE ──needed──> OPENING ──opened──> CONNECTING ──stream up──> HELD
                       ^  ↺ open failed    │  ↺ stream broken       │
                       └───────lost────────┴───────────<────────────┤ lost
                                           └──────<─────────────────┘ stream broken
    any state ──close──> CLOSED

Only the registry can say that a session is lost. While no registry answers, the machine goes on
trying with the session that it has, however long that takes: a registry that returns extends the
leases that it finds, so the instances are still there.

The shell (`tianlu._registration`) does what `Step.actions` names, in order, after waiting
`Step.wait_seconds`, and reports each outcome as an event. It reports one thing at a time and never
an outcome of a stream that it has given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tianlu._retry import STREAM_WAIT, Wait

RENEWALS_PER_TTL: Final = 3
"""Two renewals may be lost before the session is."""


class State(StrEnum):
    IDLE = "idle"
    """Nothing is registered; no session."""
    OPENING = "opening"
    """A session is being opened."""
    CONNECTING = "connecting"
    """There is a session; its stream is not up. Its instances are suspect, or soon will be."""
    HELD = "held"
    """The stream is up and the registry has answered a renewal on it."""
    CLOSED = "closed"


class Event(StrEnum):
    NEEDED = "needed"
    """Something is to be registered."""
    OPENED = "opened"
    OPEN_FAILED = "open failed"
    STREAM_UP = "stream up"
    """The first renewal of a stream was answered."""
    STREAM_BROKEN = "stream broken"
    LOST = "lost"
    """The registry says that the session has ended."""
    CLOSE = "close"


class Action(StrEnum):
    OPEN = "open"
    """Ask for a session."""
    CONNECT = "connect"
    """Open the renewal stream and renew."""
    REGISTER_ALL = "register all"
    """Register everything that is not registered under the present session."""
    END = "end"
    """Tell the registry that the session is over."""


_TABLE: Final[Mapping[tuple[State, Event], tuple[State, tuple[Action, ...]]]] = MappingProxyType(
    {
        (State.IDLE, Event.NEEDED): (State.OPENING, (Action.OPEN,)),
        (State.IDLE, Event.CLOSE): (State.CLOSED, ()),
        (State.OPENING, Event.NEEDED): (State.OPENING, ()),
        (State.OPENING, Event.OPENED): (State.CONNECTING, (Action.CONNECT,)),
        (State.OPENING, Event.OPEN_FAILED): (State.OPENING, (Action.OPEN,)),
        # A session that was opened and never answered for ends by its time to live.
        (State.OPENING, Event.CLOSE): (State.CLOSED, ()),
        (State.CONNECTING, Event.NEEDED): (State.CONNECTING, ()),
        (State.CONNECTING, Event.STREAM_UP): (State.HELD, (Action.REGISTER_ALL,)),
        (State.CONNECTING, Event.STREAM_BROKEN): (State.CONNECTING, (Action.CONNECT,)),
        (State.CONNECTING, Event.LOST): (State.OPENING, (Action.OPEN,)),
        (State.CONNECTING, Event.CLOSE): (State.CLOSED, (Action.END,)),
        (State.HELD, Event.NEEDED): (State.HELD, ()),
        (State.HELD, Event.STREAM_BROKEN): (State.CONNECTING, (Action.CONNECT,)),
        (State.HELD, Event.LOST): (State.OPENING, (Action.OPEN,)),
        (State.HELD, Event.CLOSE): (State.CLOSED, (Action.END,)),
        (State.CLOSED, Event.CLOSE): (State.CLOSED, ()),
    }
)


class ImpossibleEvent(RuntimeError):
    """An event was reported that cannot happen in the state: a bug in the shell."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the shell has to do now.

    Attributes:
        wait_seconds: how long to wait before the first action.
    """

    actions: tuple[Action, ...]
    wait_seconds: float = 0.0


class Session:
    """The state of one client's session.

    Attributes:
        session_id: the present session; 0 if there is none. Kept when closed, for `Action.END`.
        ttl_seconds: its time to live, as the registry granted it.
    """

    def __init__(self, wait: Wait = STREAM_WAIT) -> None:
        self.state: State = State.IDLE
        self.session_id = 0
        self.ttl_seconds = 0
        self._wait = wait
        self._failures = 0

    @property
    def renew_seconds(self) -> float:
        """Time between renewals."""
        return self.ttl_seconds / RENEWALS_PER_TTL

    def opened(self, session_id: int, ttl_seconds: int) -> Step:
        step = self.handle(Event.OPENED)
        self.session_id = session_id
        self.ttl_seconds = ttl_seconds
        return step

    def handle(self, event: Event, draw: float = 0.0) -> Step:
        """Take an event.

        Args:
            draw: a random number in [0, 1), to spread the clients of a registry that came back.

        Raises:
            ImpossibleEvent: the event cannot happen in this state.
        """
        entry = _TABLE.get((self.state, event))
        if entry is None:
            raise ImpossibleEvent(f"{event} while {self.state}")
        self.state, actions = entry
        if event is Event.LOST:
            self.session_id = 0
        return Step(actions, self._wait_after(event, draw))

    def _wait_after(self, event: Event, draw: float) -> float:
        if event in (Event.OPEN_FAILED, Event.STREAM_BROKEN):
            self._failures += 1
            return self._wait.seconds(self._failures, draw)
        if event is Event.STREAM_UP:
            self._failures = 0
        return 0.0
