"""Plain HTTP health: /health, /livez, /readyz and /version, in etcd's words.

/livez: this process answers and can read its own state. /readyz: it can also serve clients.
/health: the older question, both at once. Checks can be left out with ``?exclude=NAME`` and shown
with ``?verbose``. Source: etcd server/etcdserver/api/etcdhttp/health.go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from tianlu._proto.etcd.rpc_pb2 import CORRUPT, RangeRequest
from tianlu_registry.api.etcd_maintenance import ETCD_VERSION, alarm_name, raised_alarms
from tianlu_registry.api.http import (
    HttpRequest,
    HttpResponse,
    HttpRouter,
    json_response,
    text_response,
)
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import RegistryError

CHECK_TIMEOUT_SECONDS = 5.0
"""A read that takes longer counts as failed."""

_ANY_KEY = b"health"  # etcd's probe reads this key too; whether it exists does not matter

Check = Callable[[], Awaitable[str | None]]
"""Returns what is wrong, or None."""


class HealthPages:
    """The pages, over a store.

    Args:
        store: what is asked.
        version: Tianlu's version.
        catalogue_is_ready: whether the catalogue shows what the store holds.
    """

    def __init__(self, store: Store, version: str, catalogue_is_ready: Callable[[], bool]) -> None:
        self._store = store
        self._version = version
        self._catalogue_is_ready = catalogue_is_ready
        self._draining = False
        self.outcomes: Counter[tuple[str, str, bool]] = Counter()  # page, check, passed
        self._livez: Mapping[str, Check] = {"serializable_read": self._local_read}
        self._readyz: Mapping[str, Check] = {
            "data_corruption": self._not_corrupt,
            "serializable_read": self._local_read,
            "linearizable_read": self._agreed_read,
            "non_learner": self._not_learner,
            "catalogue": self._catalogue_loaded,
            "not_draining": self._not_draining,
        }

    def add_to(self, router: HttpRouter) -> None:
        router.add("GET", "/health", self._health)
        router.add("GET", "/version", self._version_page)
        for page, checks in (("livez", self._livez), ("readyz", self._readyz)):
            router.add("GET", f"/{page}", _Page(page, checks, self.outcomes))
            for name, check in checks.items():
                only = _Page(page, {name: check}, self.outcomes)
                router.add("GET", f"/{page}/{name}", only)

    def drain(self) -> None:
        """From now on say that this node is not ready."""
        self._draining = True

    async def _health(self, request: HttpRequest) -> HttpResponse:
        excluded = set(request.query.get("exclude", ()))
        local_only = request.query.get("serializable") == ["true"]
        reason = await self._why_unhealthy(excluded, local_only)
        self.outcomes["health", "health", not reason] += 1
        if reason:
            return json_response({"health": "false", "reason": reason}, 503)
        return json_response({"health": "true", "reason": ""})

    async def _why_unhealthy(self, excluded: set[str], local_only: bool) -> str:
        status = self._store.status()
        for alarm in raised_alarms(status):
            if alarm.alarm == CORRUPT and alarm.memberID != status.member_id:
                continue  # another's data is damaged; that one stops, the others serve
            name = alarm_name(alarm.alarm)
            if name not in excluded:
                return f"ALARM {name}"
        if not local_only and status.leader_id == 0:
            return "RAFT NO LEADER"
        problem = await (self._local_read() if local_only else self._agreed_read())
        return f"RANGE ERROR:{problem}" if problem else ""

    async def _version_page(self, request: HttpRequest) -> HttpResponse:
        major_minor = ".".join(ETCD_VERSION.split(".")[:2])
        return json_response(
            {
                "etcdserver": ETCD_VERSION,
                "etcdcluster": f"{major_minor}.0",
                "tianlu": self._version,
            }
        )

    # Checks

    async def _local_read(self) -> str | None:
        return await self._read(serializable=True)

    async def _agreed_read(self) -> str | None:
        return await self._read(serializable=False)

    async def _read(self, *, serializable: bool) -> str | None:
        request = RangeRequest(key=_ANY_KEY, keys_only=True, limit=1, serializable=serializable)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._store.range(request)
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT_SECONDS:.0f} s"
        except RegistryError as error:
            return str(error)
        return None

    async def _not_corrupt(self) -> str | None:
        status = self._store.status()
        own = (
            alarm.memberID == status.member_id and alarm.alarm == CORRUPT
            for alarm in raised_alarms(status)
        )
        return "alarm CORRUPT" if any(own) else None

    async def _not_learner(self) -> str | None:
        return "this member is a learner" if self._store.status().is_learner else None

    async def _catalogue_loaded(self) -> str | None:
        return None if self._catalogue_is_ready() else "the catalogue is still loading"

    async def _not_draining(self) -> str | None:
        return "this node is stopping" if self._draining else None


class _Page:
    """/livez or /readyz, or one check of it."""

    def __init__(
        self, page: str, checks: Mapping[str, Check], outcomes: Counter[tuple[str, str, bool]]
    ) -> None:
        self._page = page
        self._checks = checks
        self._outcomes = outcomes

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        excluded = request.query.get("exclude", ())
        lines, failed = [], False
        for name, check in self._checks.items():
            if name in excluded:
                continue
            problem = await check()
            failed = failed or problem is not None
            self._outcomes[self._page, name, problem is None] += 1
            lines.append(f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok")
        report = "".join(f"{line}\n" for line in lines)
        if failed:
            return text_response(report, 503)
        return text_response(f"{report}ok\n" if "verbose" in request.query else "ok\n")
