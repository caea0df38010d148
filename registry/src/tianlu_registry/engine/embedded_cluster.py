"""The `Cluster` of our own nodes, as seen from this one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO, Final

from tianlu._proto.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    SnapshotResponse,
)
from tianlu_registry.errors import NotLeader
from tianlu_registry.mvcc.hash import HashOfKeys, KeysHasher, hash_of_leases
from tianlu_registry.node.background import Pump
from tianlu_registry.node.command import CommandKind
from tianlu_registry.node.node import Node

SNAPSHOT_PIECE_BYTES: Final = 1 << 20
"""One message of a snapshot: well below what clients accept."""

HASH_STEP_RECORDS: Final = 1_024
"""Records hashed in one turn of the loop: about a millisecond."""


class EmbeddedCluster:
    """Implements `engine.cluster.Cluster` on a node of this process."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def member_list(self, request: MemberListRequest) -> MemberListResponse:
        if request.linearizable:
            await self._node.read()
        return self._node.others.ops.list_here()

    async def member_add(self, request: MemberAddRequest) -> MemberAddResponse:
        return await self._node.others.ops.add(request)

    async def member_remove(self, request: MemberRemoveRequest) -> MemberRemoveResponse:
        return await self._node.others.ops.remove(request)

    async def member_update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        return await self._node.others.ops.update(request)

    async def member_promote(self, request: MemberPromoteRequest) -> MemberPromoteResponse:
        return await self._node.others.ops.promote(request)

    async def move_leader(self, request: MoveLeaderRequest) -> MoveLeaderResponse:
        if not self._node.leads:
            raise NotLeader
        return await self._node.others.ops.move_leader(request)

    async def alarm(self, request: AlarmRequest) -> AlarmResponse:
        machine = self._node.machine
        if request.action == AlarmRequest.GET:
            alarms = [
                alarm
                for alarm in machine.cluster.alarm_messages()
                if request.memberID in (0, alarm.memberID) and request.alarm in (0, alarm.alarm)
            ]
            return AlarmResponse(header=machine.header(), alarms=alarms)
        payload = request.SerializeToString()
        response: AlarmResponse = await self._node.propose(CommandKind.ALARM, request, payload)
        return response

    async def hash(self) -> HashResponse:
        machine = self._node.machine
        keys = await self._hash_of_keys(0)
        hashed = hash_of_leases(machine.lessor.records(), keys.hash)
        return HashResponse(header=machine.header(), hash=hashed)

    async def hash_kv(self, request: HashKVRequest) -> HashKVResponse:
        hashed = await self._hash_of_keys(request.revision)
        return HashKVResponse(
            header=self._node.machine.header(),
            hash=hashed.hash,
            compact_revision=hashed.compact_revision,
            hash_revision=hashed.revision,
        )

    async def _hash_of_keys(self, revision: int) -> HashOfKeys:
        hasher = KeysHasher(self._node.machine.mvcc, revision)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[HashOfKeys] = loop.create_future()

        def step() -> bool:
            hashed = hasher.step(HASH_STEP_RECORDS)
            if hashed is not None and not done.done():
                done.set_result(hashed)
            return not done.done()

        def failed(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        pump = Pump(loop, step, on_failed=failed)
        pump.poke()
        try:
            return await done
        finally:
            pump.stop()

    async def snapshot(self) -> AsyncGenerator[SnapshotResponse, None]:
        loop = asyncio.get_running_loop()
        copy = await self._node.others.snapshots.fresh_copy()
        try:
            digest = hashlib.sha256()
            with await loop.run_in_executor(None, _opened, copy.path) as file:
                remaining = file.seek(0, 2) + digest.digest_size
                file.seek(0)
                while piece := await loop.run_in_executor(None, file.read, SNAPSHOT_PIECE_BYTES):
                    await loop.run_in_executor(None, digest.update, piece)
                    remaining -= len(piece)
                    yield self._piece(piece, remaining)
            yield self._piece(digest.digest(), 0)
        finally:
            copy.release()

    def _piece(self, blob: bytes, remaining: int) -> SnapshotResponse:
        return SnapshotResponse(
            header=self._node.machine.header(), blob=blob, remaining_bytes=remaining
        )


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")
