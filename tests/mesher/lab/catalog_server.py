"""A registry's watch, small: real gRPC on a unix socket, and a catalogue that tests write to.

It answers Watch of tianlu.v1.Catalog and nothing else, which is all that a mesher asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from tianlu import Instance, Service
from tianlu._convert import instance_to_proto, service_to_proto
from tianlu._proto.v1 import catalog_pb2


class CatalogServer:
    """Holds instances; every change is one revision."""

    def __init__(self, socket: Path) -> None:
        self.endpoint = f"unix:{socket}"
        self.revision = 1
        self.applied = 0
        self._instances: dict[tuple[str, str, str], Instance] = {}
        self._services: dict[tuple[str, str], Service] = {}
        self._log: list[catalog_pb2.CatalogEvent] = []
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._watch,
            request_deserializer=catalog_pb2.WatchRequest.FromString,
            response_serializer=catalog_pb2.WatchResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("tianlu.v1.Catalog", {"Watch": handler}),)
        )
        server.add_insecure_port(self.endpoint)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def put(self, *instances: Instance) -> int:
        for instance in instances:
            self._instances[instance.namespace, instance.service, instance.id] = instance
            self._log_event(instance_put=instance_to_proto(instance))
        return await self._tell()

    async def put_service(self, service: Service) -> int:
        self._services[service.namespace, service.name] = service
        self._log_event(service_put=service_to_proto(service))
        return await self._tell()

    async def remove(self, instance: Instance) -> int:
        del self._instances[instance.namespace, instance.service, instance.id]
        key = catalog_pb2.InstanceKey(
            namespace=instance.namespace, service=instance.service, id=instance.id
        )
        self._log_event(instance_removed=key)
        return await self._tell()

    def _log_event(self, **change: object) -> None:
        self.revision += 1
        self._log.append(catalog_pb2.CatalogEvent(revision=self.revision, **change))

    async def _tell(self) -> int:
        async with self._changed:
            self._changed.notify_all()
        return self.revision

    def _snapshot(self) -> catalog_pb2.WatchResponse:
        events = [
            catalog_pb2.CatalogEvent(service_put=service_to_proto(each))
            for each in self._services.values()
        ]
        events += [
            catalog_pb2.CatalogEvent(instance_put=instance_to_proto(each))
            for each in self._instances.values()
        ]
        return catalog_pb2.WatchResponse(
            revision=self.revision, snapshot=True, snapshot_end=True, events=events
        )

    async def _watch(
        self, requests: AsyncIterator[catalog_pb2.WatchRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[catalog_pb2.WatchResponse]:
        await anext(requests)
        acks = asyncio.create_task(self._take_acks(requests))
        try:
            yield self._snapshot()
            sent = self.revision
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda seen=sent: self.revision > seen)
                events = [event for event in self._log if event.revision > sent]
                sent = self.revision
                yield catalog_pb2.WatchResponse(revision=sent, events=events)
        finally:
            acks.cancel()

    async def _take_acks(self, requests: AsyncIterator[catalog_pb2.WatchRequest]) -> None:
        async for request in requests:
            self.applied = max(self.applied, request.ack.applied_revision)
