"""A registry node as a real process, and the catalogue's clients for tests: gRPC and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
import httpx
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tianlu._proto.v1 import catalog_pb2
from tianlu._proto.v1.catalog_pb2 import (
    KeepAliveRequest,
    OpenSessionRequest,
    WatchAck,
    WatchCreate,
    WatchRequest,
    WatchResponse,
)

CATALOG = catalog_pb2.DESCRIPTOR.services_by_name["Catalog"]


class NodeProcess:
    """`tianlu registry` on a data directory that outlives it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = "http://127.0.0.1:0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        return self.url.removeprefix("http://")

    def start(self) -> None:
        """Start and wait until it serves; a second start uses the same port."""
        run_file = self.directory / "run.json"
        with (self.directory / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tianlu_registry",
                    f"--data-dir={self.directory / 'data'}",
                    f"--listen-client-urls={self.url}",
                    f"--run-file={run_file}",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not run_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "node.log").read_text()[-2000:])
            time.sleep(0.02)
        self.url = json.loads(run_file.read_text())["addresses"]["client_urls"][0]

    def kill(self) -> None:
        """End the launcher and its Envoy at once, as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None
            (self.directory / "run.json").unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop in the orderly way."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(20) == 0
            self._process = None


class Client:
    """Calls rpcs by name, on one channel."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.aio.insecure_channel(target)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(self, rpc: str, request: Message) -> Any:
        method = CATALOG.methods_by_name[rpc]
        return await self.channel.unary_unary(
            f"/{CATALOG.full_name}/{rpc}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(request, timeout=10, wait_for_ready=True)

    def stream(self, rpc: str) -> Any:
        method = CATALOG.methods_by_name[rpc]
        return self.channel.stream_stream(
            f"/{CATALOG.full_name}/{rpc}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(wait_for_ready=True)

    async def session(self, ttl_seconds: int = 60) -> int:
        opened = await self.call("OpenSession", OpenSessionRequest(ttl_seconds=ttl_seconds))
        return int(opened.session_id)

    async def keep_alive(self, session: int) -> Any:
        """Open a stream, renew once on it, and return it open."""
        stream = self.stream("KeepAlive")
        await stream.write(KeepAliveRequest(session_id=session))
        answer = await stream.read()
        assert answer.session_id == session
        assert answer.ttl_seconds > 0
        return stream


class Watching:
    """A watch stream and the instances that it has told of, by id."""

    def __init__(self, client: Client) -> None:
        self._stream = client.stream("Watch")
        self.revision = 0
        self.snapshots = 0
        self.instances: dict[str, Any] = {}

    async def begin(self, namespace: str, resume_revision: int = 0, name: str = "test") -> None:
        create = WatchCreate(namespace=namespace, resume_revision=resume_revision, subscriber=name)
        await self._stream.write(WatchRequest(create=create))

    async def acknowledge(self) -> None:
        ack = WatchAck(applied_revision=self.revision)
        await self._stream.write(WatchRequest(ack=ack))

    async def next(self) -> WatchResponse:
        message = await asyncio.wait_for(self._stream.read(), 10)
        assert isinstance(message, WatchResponse), "the stream ended"
        for event in message.events:
            if event.HasField("instance_put"):
                self.instances[event.instance_put.id] = event.instance_put
            elif event.HasField("instance_removed"):
                self.instances.pop(event.instance_removed.id, None)  # it may have resumed
        self.revision = message.revision
        self.snapshots += message.snapshot_end
        return message

    async def until(self, condition: Any) -> None:
        while not condition():
            await self.next()

    async def error(self) -> grpc.aio.AioRpcError:
        """Read on until the stream fails; return with what."""
        try:
            while await asyncio.wait_for(self._stream.read(), 10) is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the stream ended without an error")

    def cancel(self) -> None:
        self._stream.cancel()


async def json_lines(response: httpx.Response):
    """Yield the objects of a stream of lines."""
    async with aclosing(response.aiter_lines()) as lines:
        async for line in lines:
            if line:
                yield json.loads(line)
