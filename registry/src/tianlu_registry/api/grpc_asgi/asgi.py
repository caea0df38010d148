"""The ASGI types that the adapter uses.

`Send` and `Receive` return awaitables, not coroutines: pyvoy returns futures, and queues what is
sent at the call, before anybody awaits it. The adapter relies on neither but profits from both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
