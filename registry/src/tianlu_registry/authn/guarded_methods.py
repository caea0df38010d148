"""Services that do not reach their keys through a guarded store: each method asks before it runs.

The catalogue works on a view that the node itself feeds, and some methods of Maintenance on nothing
at all. Their servicers are wrapped, and the wrapper knows no method that has no rule: one that is
added later is root's until somebody gives it another.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import partial, wraps
from inspect import isasyncgenfunction
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from tianlu_registry.auth import Checker, Claim
from tianlu_registry.auth.permissions import Access
from tianlu_registry.authn.guard import Check, Stream

Rule = Callable[[Checker, Claim], None]
ServicerT = TypeVar("ServicerT")

CATALOG_KEYS: Final = (b"/tianlu/v1/", b"/tianlu/v10")
"""The range that everything in the catalogue lies in."""


def may_read_catalog(checker: Checker, claim: Claim) -> None:
    checker.keys(claim, *CATALOG_KEYS, Access.READ)


def may_change_catalog(checker: Checker, claim: Claim) -> None:
    checker.keys(claim, *CATALOG_KEYS, Access.WRITE)


def is_administrator(checker: Checker, claim: Claim) -> None:
    checker.administrator(claim)


def asks_a_guarded_store(checker: Checker, claim: Claim) -> None:
    """Nothing to ask here: what the method uses asks."""


CATALOG_RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "OpenSession": may_change_catalog,
        "KeepAlive": may_change_catalog,
        "RenewSession": may_change_catalog,
        "CloseSession": may_change_catalog,
        "Register": may_change_catalog,
        "Deregister": may_change_catalog,
        "UpdateInstance": may_change_catalog,
        "OverrideInstance": may_change_catalog,
        "PutService": may_change_catalog,
        "DeleteService": may_change_catalog,
        "GetService": may_read_catalog,
        "ListNamespaces": may_read_catalog,
        "ListServices": may_read_catalog,
        "ListInstances": may_read_catalog,
        "Discover": may_read_catalog,
        "Watch": may_read_catalog,
        "ListSubscribers": may_read_catalog,
        "AwaitApplied": may_read_catalog,
    }
)

MAINTENANCE_RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "Alarm": asks_a_guarded_store,
        "Status": asks_a_guarded_store,
        "Hash": asks_a_guarded_store,
        "HashKV": asks_a_guarded_store,
        "Snapshot": asks_a_guarded_store,
        "MoveLeader": asks_a_guarded_store,
        "Defragment": is_administrator,
        "Downgrade": is_administrator,
    }
)


class Asked(Protocol):
    """What is asked before a method runs. `Guard` is one, `UnderlyingGuard` another."""

    @property
    def enabled(self) -> bool: ...

    @property
    def checker(self) -> Any: ...  # noqa: ANN401 - what rules ask

    async def require(self, check: Check) -> Claim: ...

    def held_open(
        self, stream: Stream, claim: Claim, check: Check
    ) -> AbstractContextManager[None]: ...


class _GuardedMethods(Generic[ServicerT]):
    """A servicer whose methods ask first; what is no method of the service passes."""

    def __init__(self, servicer: ServicerT, guard: Asked, rules: Mapping[str, Rule]) -> None:
        self._servicer = servicer
        self._guard = guard
        self._rules = rules

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the servicer has
        found = getattr(self._servicer, name)
        if not name[:1].isupper() or not callable(found):
            return found
        rule = self._rules.get(name, is_administrator)
        guarded = _guarded(found, self._guard, partial(rule, self._guard.checker))
        setattr(self, name, guarded)
        return guarded


def guarded_methods(servicer: ServicerT, guard: Asked, rules: Mapping[str, Rule]) -> ServicerT:
    """Return a servicer that asks `guard` before each method, by `rules`."""
    return cast("ServicerT", _GuardedMethods(servicer, guard, rules))


def _guarded(method: Callable[..., Any], guard: Asked, check: Check) -> Callable[..., Any]:
    """Return the method with a check before it, in the same form: coroutine or generator."""
    if isasyncgenfunction(method):

        @wraps(method)
        async def stream(*arguments: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401
            held: AbstractContextManager[None] = nullcontext()
            if guard.enabled:
                held = guard.held_open(arguments[-1], await guard.require(check), check)
            with held:
                async with aclosing(method(*arguments)) as responses:
                    async for response in responses:
                        yield response

        return stream

    @wraps(method)
    async def call(*arguments: Any) -> Any:  # noqa: ANN401
        if guard.enabled:
            await guard.require(check)
        return await method(*arguments)

    return call
