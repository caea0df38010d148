"""A cluster of which the tests say everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from google.protobuf.message import Message

from tianlu._proto.etcd import rpc_pb2 as pb


class FakeCluster:
    """Implements `Cluster`: keeps the requests, and answers with what `error` or its fields say.

    Attributes:
        requests: all requests that came, in order.
        error: raised by every call, if set.
        pieces: what `snapshot` yields.
        snapshots_open: generators begun and not closed.
    """

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.error: Exception | None = None
        self.pieces = [
            pb.SnapshotResponse(remaining_bytes=3, blob=b"abc"),
            pb.SnapshotResponse(remaining_bytes=0, blob=b"def"),
            pb.SnapshotResponse(blob=b"digest"),
        ]
        self.snapshots_open = 0

    async def member_list(self, request: pb.MemberListRequest) -> Any:
        return self._answer(request, pb.MemberListResponse)

    async def member_add(self, request: pb.MemberAddRequest) -> Any:
        return self._answer(request, pb.MemberAddResponse)

    async def member_remove(self, request: pb.MemberRemoveRequest) -> Any:
        return self._answer(request, pb.MemberRemoveResponse)

    async def member_update(self, request: pb.MemberUpdateRequest) -> Any:
        return self._answer(request, pb.MemberUpdateResponse)

    async def member_promote(self, request: pb.MemberPromoteRequest) -> Any:
        return self._answer(request, pb.MemberPromoteResponse)

    async def move_leader(self, request: pb.MoveLeaderRequest) -> Any:
        return self._answer(request, pb.MoveLeaderResponse)

    async def alarm(self, request: pb.AlarmRequest) -> Any:
        return self._answer(request, pb.AlarmResponse)

    async def hash(self) -> Any:
        return self._answer(pb.HashRequest(), pb.HashResponse)

    async def hash_kv(self, request: pb.HashKVRequest) -> Any:
        return self._answer(request, pb.HashKVResponse)

    async def snapshot(self) -> AsyncGenerator[pb.SnapshotResponse, None]:
        self.snapshots_open += 1
        try:
            for piece in self.pieces:
                yield piece
            if self.error is not None:
                raise self.error
        finally:
            self.snapshots_open -= 1

    def _answer(self, request: Message, response: type[Message]) -> Message:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return response(
            header=pb.ResponseHeader(cluster_id=7, member_id=1, revision=9, raft_term=2)
        )
