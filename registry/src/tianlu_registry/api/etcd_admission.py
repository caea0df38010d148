"""What every call of etcd's services must pass first: is this member one to ask?

- A learner may lag without bound, and clients must not hang on it: it serves serializable ranges,
  its status and snapshots; all else it refuses, and clients ask another member.
- A call may say that it wants a member that knows a leader (metadata ``hasleader: true``, Go's
  `clientv3.WithRequireLeader`). It is refused where none is known; one that streams is ended when
  none has been known for `NO_LEADER_ELECTIONS` election timeouts. So a watch at a member that is
  cut off from the others does not stay silent for ever.

Source: etcd server/etcdserver/api/v3rpc/interceptor.go, util.go (`isRPCSupportedForLearner`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import wraps
from inspect import isasyncgenfunction
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.errors import NoLeader, NotSupportedForLearner

ServicerT = TypeVar("ServicerT")

NO_LEADER_ELECTIONS: Final = 3
"""Looks in a row that find no leader, an election timeout apart, after which streams are ended."""

_REQUIRES_LEADER: Final = frozenset(
    # The second is how the JSON gateway's callers spell metadata.
    {(b"hasleader", b"true"), (b"grpc-metadata-hasleader", b"true")}
)

SERVED_BY_LEARNERS: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "etcdserverpb.KV.Range": lambda request: bool(request.serializable),
        "etcdserverpb.Maintenance.Status": lambda _: True,
        "etcdserverpb.Maintenance.Snapshot": lambda _: True,
    }
)
"""Which requests of which methods."""


class Admission:
    """Lets calls pass, or refuses them.

    Args:
        is_settled: whether this member has a vote and knows a leader: then a call of one message
            is asked nothing more. It may say no though it is so.
        is_learner: whether it has no vote yet.
        has_leader: whether it knows a leader.
        election_seconds: its election timeout.
    """

    def __init__(
        self,
        *,
        is_settled: Callable[[], bool],
        is_learner: Callable[[], bool],
        has_leader: Callable[[], bool],
        election_seconds: float,
    ) -> None:
        self._is_settled = is_settled
        self._is_learner = is_learner
        self._has_leader = has_leader
        self._election_seconds = election_seconds
        self._need_leader: set[RpcContext] = set()
        self._leaderless = 0
        self._timer: asyncio.TimerHandle | None = None

    def before(self, service: ServiceDescriptor, servicer: ServicerT) -> ServicerT:
        """Return a servicer whose methods are reached by calls that pass."""
        admitted = _Admitted()
        for descriptor in service.methods:
            method = getattr(servicer, descriptor.name, None)
            if method is not None:
                setattr(admitted, descriptor.name, self._admitting(descriptor, method))
        return cast("ServicerT", admitted)

    @contextmanager
    def stream(self, context: RpcContext, *, by_learners: bool = False) -> Iterator[None]:
        """Hold a streaming call open, as far as it is admitted.

        Args:
            by_learners: learners serve it too.

        Raises:
            NotSupportedForLearner, NoLeader: it is not.
        """
        if self._is_learner() and not by_learners:
            raise NotSupportedForLearner
        if not _requires_leader(context):
            yield
            return
        if not self._has_leader():
            raise NoLeader
        self._need_leader.add(context)
        self._look_later()
        try:
            yield
        finally:
            self._need_leader.discard(context)

    def _admitting(self, descriptor: MethodDescriptor, method: Callable[..., Any]) -> Any:  # noqa: ANN401
        if descriptor.client_streaming or descriptor.server_streaming:
            return self._streaming(descriptor, method)
        by_learners = SERVED_BY_LEARNERS.get(descriptor.full_name, _never)

        @wraps(method)
        def unary(request: Any, context: RpcContext) -> Any:  # noqa: ANN401
            if not self._is_settled():
                if self._is_learner() and not by_learners(request):
                    raise NotSupportedForLearner
                if not self._has_leader() and _requires_leader(context):
                    raise NoLeader
            return method(request, context)

        return unary

    def _streaming(self, descriptor: MethodDescriptor, method: Callable[..., Any]) -> Any:  # noqa: ANN401
        by_learners = descriptor.full_name in SERVED_BY_LEARNERS
        if isasyncgenfunction(method):

            @wraps(method)
            async def responses(request: Any, context: RpcContext) -> AsyncGenerator[Any, None]:  # noqa: ANN401
                with self.stream(context, by_learners=by_learners):
                    async with aclosing(method(request, context)) as running:
                        async for response in running:
                            yield response

            return responses

        @wraps(method)
        async def call(request: Any, context: RpcContext) -> Any:  # noqa: ANN401
            with self.stream(context, by_learners=by_learners):
                return await method(request, context)

        return call

    # Streams that want a leader

    def _look_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._election_seconds, self._look)

    def _look(self) -> None:
        """Count how long there has been no leader. No streams, no looks: the next one begins
        anew."""
        self._timer = None
        self._leaderless = 0 if self._has_leader() else self._leaderless + 1
        if self._leaderless >= NO_LEADER_ELECTIONS:
            self._leaderless = 0
            streams, self._need_leader = self._need_leader, set()
            for context in streams:
                context.abort(NoLeader())
        if self._need_leader:
            self._look_later()
        else:
            self._leaderless = 0


class _Admitted:
    """A servicer made of single methods."""


def _never(request: object) -> bool:
    return False


def _requires_leader(context: RpcContext) -> bool:
    return not _REQUIRES_LEADER.isdisjoint(context.scope["headers"])
